/**
 * Who uses an image: one writer, or any number of readers. Node has no lock that the kernel frees, so that who uses an image
 * is said by the names of empty files: `r-` or `w-` and the identity of the user (`process-identity.ts`), which is used
 * once. What a killed process left is known as such, disturbs nobody, and is removed by whoever sees it.
 *
 * They stand in two places: beside the image, where every computer and container that has the folder sees them, and in one
 * folder of this computer by the device and inode of the image, so that all its names are one image, such as hard links and
 * mounts of a single file. Where one place can't be written the other has to do; a reader does without both.
 *
 * The protocol, in each place:
 *
 * 1. Claim: the user makes his file, which stays until he gives the image back.
 * 2. Look: he lists the place. Of two users who can't both have the image at least one sees the other, since each claims
 *    before he looks, and a list has every file that is there from its beginning to its end.
 * 3. Whoever sees a conflicting file that has a second one beside it, `.held`, is refused. Of those that only claim, the one
 *    with the least identity waits until the others have gone, and the others withdraw and wait until he is through.
 * 4. Hold: nobody is in the way; he makes `.held`. Removing both gives the image back.
 *
 * So exactly one of several writers gets the image, a kill at any step leaves nothing that holds, and nobody ever removes what
 * could be a living user's. A user on another computer can't be seen to have ended, and is believed.
 */
import { createHash } from "node:crypto";
import {
  type BigIntStats,
  chmodSync,
  closeSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { DiskError } from "../errors.js";
import { fileError, notRegular } from "./node-file.js";
import { lifeOf, newIdentity, processOf } from "./process-identity.js";

/** What somebody does with an image. */
export type ImageUse = "read" | "write";

/** Milliseconds that another one may take between its steps, which follow each other at once; and between two looks. */
const [WAIT_MS, LEAST_PAUSE_MS, MOST_PAUSE_MS] = [10_000, 1, 50];
/** Bytes of an image's name that a lock's name can have; beyond, a digest stands for the rest. */
const MOST_NAME = 96;
/** Folders of a computer for locks of all users, the first that there is; in it, ours. */
const [SHARED_FOLDERS, OURS] = [["/run/lock", "/tmp"], "hyperfile-images"];
/** Everybody may make files, and remove his own only. */
const SHARED_MODE = 0o1777;
const ENTRY = /^(?:\d+-\d+-)?([rw])-(.+?)(\.held)?$/;
/** Places where nothing can be written. */
const UNWRITABLE: readonly (string | undefined)[] = ["EACCES", "EPERM", "EROFS", "ENOENT", "ENOTDIR"];
/** Why a reader, who is never in the way of another, goes on without his file. */
const NO_ROOM: readonly (string | undefined)[] = ["ENOSPC", "EDQUOT"];

/** Where files of an image stand. */
interface Place {
  readonly folder: string;
  /** What their names begin with. */
  readonly prefix: string;
  /** Whether a user's file counts here: anybody may make one in a folder of all users. */
  believes(file: string): boolean;
  /** Removes what the dead have left of other images. */
  removeLeft?(): void;
}

/** Somebody's file. */
interface Entry {
  readonly place: Place;
  readonly use: ImageUse;
  readonly identity: string;
  readonly isHeld: boolean;
}

/** The right to read or to write an image. */
export class ImageLock {
  private constructor(
    /** The image's path without links. */
    readonly image: string,
    readonly use: ImageUse,
    private readonly files: readonly string[],
  ) {}

  /**
   * Takes an image. It waits for others that take it at the same moment, and for nobody that has it.
   * @throws DiskError `E_IMAGE_LOCKED` if somebody has it; its details name the image and the process
   */
  static async take(image: string, use: ImageUse = "write"): Promise<ImageLock> {
    let path: string;
    let stat: BigIntStats;
    try {
      path = realpathSync(image);
      stat = statSync(path, { bigint: true });
    } catch (error) {
      throw fileError(image, "open", error);
    }
    if (!stat.isFile()) throw notRegular(image);
    try {
      return new ImageLock(path, use, await new Attempt(image, path, use, placesOf(path, stat)).take());
    } catch (error) {
      throw fileError(image, "lock", error);
    }
  }

  /** Gives the image back. */
  release(): void {
    removeFiles(this.files);
  }
}

/** One user's way to an image. */
class Attempt {
  private readonly own = newIdentity();
  private readonly files: string[] = [];
  private readonly end = performance.now() + WAIT_MS;
  private waitMs = LEAST_PAUSE_MS;

  constructor(
    private readonly image: string,
    private readonly path: string,
    private readonly use: ImageUse,
    private readonly places: readonly Place[],
  ) {}

  /** @returns the files that say that the image is taken, those that say so first at the end */
  async take(): Promise<readonly string[]> {
    try {
      for (;;) {
        // Before the claim, so that who waits for others is not in their way.
        const before = this.look();
        if (before.length === 0) {
          const claimed = this.claim();
          if (await this.isFirst()) {
            this.hold(claimed);
            for (const { removeLeft } of claimed) removeLeft?.();
            return [...this.files].reverse();
          }
          this.withdraw();
        }
        await this.wait(before);
      }
    } catch (error) {
      this.withdraw();
      throw error;
    }
  }

  /** Whether nobody is in the way; false if somebody comes before. */
  private async isFirst(): Promise<boolean> {
    for (;;) {
      const rivals = this.look();
      if (rivals.length === 0) return true;
      if (rivals.some(({ identity }) => identity < this.own)) return false;
      await this.wait(rivals);
    }
  }

  /** Those that claim what this one can't have beside them. @throws DiskError if somebody holds it */
  private look(): Entry[] {
    const rivals = this.places
      .flatMap(entriesIn)
      .filter(({ use, identity }) => identity !== this.own && (use === "write" || this.use === "write"));
    const holder = rivals.find(({ isHeld }) => isHeld);
    if (holder !== undefined) throw this.lockedBy(holder);
    return rivals;
  }

  private async wait(rivals: readonly Entry[]): Promise<void> {
    if (performance.now() >= this.end && rivals.length > 0) throw this.lockedBy(rivals[0]!);
    await pause(this.waitMs);
    this.waitMs = Math.min(this.waitMs * 2, MOST_PAUSE_MS);
  }

  /** @returns where it could be claimed */
  private claim(): readonly Place[] {
    const claimed: Place[] = [];
    let failure: unknown;
    for (const place of this.places) {
      try {
        this.make(place, "");
        claimed.push(place);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (!UNWRITABLE.includes(code) && !(this.use === "read" && NO_ROOM.includes(code))) throw error;
        failure ??= error;
      }
    }
    if (this.use === "write" && claimed.length === 0) throw failure;
    return claimed;
  }

  private hold(claimed: readonly Place[]): void {
    for (const place of claimed) this.make(place, ".held");
  }

  private make({ folder, prefix }: Place, suffix: string): void {
    const file = join(folder, `${prefix}${this.use[0]}-${this.own}${suffix}`);
    closeSync(openSync(file, "wx", 0o644));
    this.files.push(file);
  }

  private withdraw(): void {
    removeFiles(this.files.splice(0).reverse());
  }

  private lockedBy({ place, use, identity, isHeld }: Entry): DiskError {
    const { pid, host, isHere } = processOf(identity)!;
    const isSeen = lifeOf(identity) !== "unseen";
    const what = isHeld ? `${use}s the image` : `is about to ${use} the image`;
    const why = use === "read" ? ", which must not change meanwhile" : "";
    const files = join(place.folder, `${place.prefix}${use[0]}-${identity}*`);
    const [where, wayOut] = isSeen
      ? ["", "wait until it has ended, or stop it"]
      : [isHere ? " in another container" : ` on ${host}`, `if it has ended, remove ${files}`];
    return new DiskError("E_IMAGE_LOCKED", `${this.image}: process ${pid}${where} ${what}${why}; ${wayOut}`, {
      image: this.path,
      pid,
    });
  }
}

function placesOf(path: string, stat: BigIntStats): Place[] {
  const places: Place[] = [
    { folder: dirname(path), prefix: `.${shortName(basename(path))}.lock-`, believes: () => true },
  ];
  const folder = sharedFolder();
  const { dev, ino, uid, mode } = stat;
  if (folder !== undefined) {
    // Who can't open the image can't use it; with a file he could only keep others from it.
    const isOpen = (mode & 0o077n) !== 0n;
    const users = [0n, uid, BigInt(process.getuid?.() ?? 0)];
    places.push({
      folder,
      prefix: `${dev}-${ino}-`,
      believes: (file) => isOpen || users.includes(ownerOf(file)),
      removeLeft: () => void entriesIn({ folder, prefix: "", believes: () => false }),
    });
  }
  return places;
}

/** A name of a file as a part of another's. */
function shortName(name: string): string {
  if (Buffer.byteLength(name) <= MOST_NAME) return name;
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 16);
  return `${Buffer.from(name)
    .subarray(0, MOST_NAME / 2)
    .toString("utf8")
    .replaceAll("\ufffd", "")}-${digest}`;
}

/** The folder of this computer's locks, made if need be; undefined where there is no place for one. */
function sharedFolder(): string | undefined {
  const parent =
    process.platform === "win32"
      ? tmpdir()
      : SHARED_FOLDERS.find((folder) => {
          const stat = lstatSync(folder, { throwIfNoEntry: false });
          return stat?.isDirectory() && (stat.mode & SHARED_MODE) === SHARED_MODE;
        });
  if (parent === undefined) return undefined;
  const folder = join(parent, OURS);
  try {
    mkdirSync(folder);
    // Not by mkdir: the process's mask would take from it.
    chmodSync(folder, SHARED_MODE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") return undefined;
  }
  return lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() ? folder : undefined;
}

/** The files of an image in a place whose users may live; those of the dead are removed. */
function entriesIn(place: Place): Entry[] {
  const { folder, prefix } = place;
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (UNWRITABLE.includes((error as NodeJS.ErrnoException).code)) return [];
    throw error;
  }
  const claims = new Map<string, ImageUse>();
  const held = new Set<string>();
  for (const name of names) {
    if (!name.startsWith(prefix)) continue;
    const [, use, identity, mark] = ENTRY.exec(name.slice(prefix.length)) ?? [];
    if (identity === undefined || processOf(identity) === undefined) continue;
    const file = join(folder, name);
    if (lifeOf(identity) === "gone") removeFiles([file]);
    else if (place.believes(file)) {
      claims.set(identity, use === "r" ? "read" : "write");
      if (mark !== undefined) held.add(identity);
    }
  }
  return [...claims].map(([identity, use]) => ({ place, use, identity, isHeld: held.has(identity) }));
}

const ownerOf = (file: string): bigint =>
  lstatSync(file, { bigint: true, throwIfNoEntry: false })?.uid ?? -1n;

/** Removes files; what can't be removed says nothing once its maker has ended. */
function removeFiles(files: readonly string[]): void {
  for (const file of files) {
    try {
      rmSync(file, { force: true });
    } catch {}
  }
}
