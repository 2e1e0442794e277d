/** Users of an image: processes that take it at once, that are killed at any step, and what they leave. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ImageLock, type ImageUse } from "../../node.js";
import { newIdentity } from "./process-identity.js";

const program = fileURLToPath(new URL("../../../test/hold-image.mjs", import.meta.url));
/** How often processes race, and milliseconds that they have to hear of it. */
const [TRIES, SOON_MS] = [20, 30];
/** Where users of all names of a file are noted. */
const shared = ["/run/lock/hyperfile-images", "/tmp/hyperfile-images"];

let folder: string;
let image: string;
let children: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-lock-"));
  image = join(folder, "disk.qcow2");
  writeFileSync(image, "");
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

/** Files that say who has an image, beside it and in the shared folder. */
function locks(of = image): string[] {
  const { dev, ino } = statSync(of, { bigint: true });
  const names = shared.filter(existsSync).flatMap((each) => readdirSync(each));
  return [
    ...readdirSync(folder).filter((name) => name.includes(".lock-")),
    ...names.filter((name) => name.startsWith(`${dev}-${ino}-`)),
  ];
}

/** A process that takes the image when it is told. */
class Holder {
  readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private readonly exited: Promise<void>;

  constructor(uid?: number) {
    this.child = spawn(process.execPath, [program], {
      stdio: ["pipe", "pipe", "inherit"],
      ...(uid !== undefined && { uid, gid: uid }),
    });
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.exited = new Promise((resolve) => this.child.once("exit", () => resolve()));
    children.push(this.child);
  }

  take(use: ImageUse = "write", { time = 0, path = image } = {}): Promise<string> {
    return this.tell(`take\t${path}\t${use}\t${time}`);
  }

  release(): Promise<string> {
    return this.tell("release");
  }

  /** Lets it be killed in place of a step. */
  async dieAt(step: number): Promise<void> {
    await this.tell(`die\t${step}`);
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  /** What it says; "killed" if that is all that comes of it. */
  private async tell(order: string): Promise<string> {
    this.child.stdin!.write(`${order}\n`);
    const { value, done } = await this.lines.next();
    if (!done) return value;
    await this.exited;
    return "killed";
  }
}

/** Lets all take the image at once; gives who has it. @throws if not exactly one has */
async function race(holders: readonly Holder[]): Promise<Holder> {
  const time = Date.now() + SOON_MS;
  const says = await Promise.all(holders.map((holder) => holder.take("write", { time })));
  expect([...says].sort()).toEqual([...holders.slice(1).map(() => "E_IMAGE_LOCKED"), "holds"]);
  return holders[says.indexOf("holds")]!;
}

const isTaken = { code: "E_IMAGE_LOCKED" };

describe("a writer", { timeout: 120_000 }, () => {
  it("is exactly one of several processes that take the image at once", async () => {
    const holders = [new Holder(), new Holder(), new Holder()];
    await Promise.all(holders.map((holder) => holder.release()));
    for (let round = 0; round < TRIES; round++) {
      const winner = await race(holders);
      const { pid } = winner.child;
      await expect(ImageLock.take(image)).rejects.toThrow(
        `${image}: process ${pid} writes the image; wait until it has ended, or stop it`,
      );
      await expect(ImageLock.take(image, "read")).rejects.toMatchObject({ ...isTaken, details: { pid } });
      await winner.release();
      expect(locks()).toEqual([]);
    }
  });

  it("is exactly one of those that take it from a killed process, time and again", async () => {
    const holders = [new Holder(), new Holder()];
    for (let round = 0; round < TRIES; round++) {
      const winner = await race(holders);
      await winner.kill();
      holders[holders.indexOf(winner)] = new Holder();
    }
    const lock = await ImageLock.take(image);
    lock.release();
    expect(locks()).toEqual([]);
  });

  it("has the image by all its names: links of both kinds, and other folders", async () => {
    const [link, hard, far] = [join(folder, "link"), join(folder, "hard"), join(folder, "other", "far")];
    mkdirSync(join(folder, "other"));
    symlinkSync(image, link);
    linkSync(image, hard);
    linkSync(image, far);
    writeFileSync(join(folder, "disk"), "");
    const holder = new Holder();
    for (const path of [image, link, hard, far]) {
      expect(await holder.take("write", { path })).toBe("holds");
      for (const other of [image, link, hard, far]) {
        await expect(ImageLock.take(other)).rejects.toMatchObject(isTaken);
        await expect(ImageLock.take(other, "read")).rejects.toMatchObject(isTaken);
      }
      // One of a like name is another image.
      (await ImageLock.take(join(folder, "disk"))).release();
      await holder.release();
    }
    const lock = await ImageLock.take(hard);
    await expect(ImageLock.take(far)).rejects.toThrow(`${far}: process ${process.pid} writes the image`);
    lock.release();
    expect(locks()).toEqual([]);
  });
});

describe("readers", { timeout: 120_000 }, () => {
  it("share an image, which nobody writes until the last of them has gone, killed or not", async () => {
    const readers = [new Holder(), new Holder()];
    for (const reader of readers) expect(await reader.take("read")).toBe("holds");
    const own = await ImageLock.take(image, "read");
    own.release();
    await expect(ImageLock.take(image)).rejects.toThrow(
      /process \d+ reads the image, which must not change meanwhile; wait until it has ended, or stop it$/,
    );
    await readers[0]!.kill();
    await expect(ImageLock.take(image)).rejects.toMatchObject({ details: { pid: readers[1]!.child.pid } });
    await readers[1]!.release();
    (await ImageLock.take(image)).release();
    expect(locks()).toEqual([]);
  });

  it("or one writer have an image when all take it at once", async () => {
    const uses: ImageUse[] = ["read", "write", "read", "write"];
    const holders = uses.map(() => new Holder());
    await Promise.all(holders.map((holder) => holder.release()));
    let [read, written] = [0, 0];
    for (let round = 0; round < TRIES; round++) {
      // Each has its turn to be told first.
      const time = Date.now() + SOON_MS;
      const order = holders.map((_, at) => (at + round) % holders.length);
      const says: string[] = [];
      await Promise.all(order.map(async (at) => (says[at] = await holders[at]!.take(uses[at], { time }))));
      const have = uses.filter((_, at) => says[at] === "holds");
      expect(says.filter((word) => word !== "holds" && word !== "E_IMAGE_LOCKED")).toEqual([]);
      expect(have.length).toBeGreaterThan(0);
      if (have.includes("write")) expect(have).toEqual(["write"]);
      if (have.includes("write")) written++;
      else read++;
      await Promise.all(holders.map((holder) => holder.release()));
      expect(locks()).toEqual([]);
    }
    expect(read + written).toBe(TRIES);
  });

  it.runIf(process.getuid?.() === 0)(
    "keep writers out also where they may not write the folder",
    async () => {
      chmodSync(folder, 0o755);
      const reader = new Holder(65534);
      expect(await reader.take("read")).toBe("holds");
      expect(readdirSync(folder)).toEqual(["disk.qcow2"]);
      await expect(ImageLock.take(image)).rejects.toMatchObject({ details: { pid: reader.child.pid } });
      await reader.release();
      // Who can't open the image can't keep others from it.
      chmodSync(image, 0o600);
      expect(await reader.take("read")).toBe("holds");
      (await ImageLock.take(image)).release();
    },
  );
});

describe("a killed process", { timeout: 240_000 }, () => {
  it.each(["write", "read"] as const)("is in nobody's way, whichever step to %s it was at", async (use) => {
    let steps = 0;
    for (let isKilled = true; isKilled; steps++) {
      const holder = new Holder();
      await holder.dieAt(steps + 1);
      // Taken, and given back: both may be cut off.
      let says = await holder.take(use);
      if (says === "holds") says = await holder.release();
      isKilled = says === "killed";
      expect(says).toBe(isKilled ? "killed" : "released");
      const lock = await ImageLock.take(image);
      expect(locks().length).toBe(4);
      lock.release();
      expect(locks()).toEqual([]);
      await holder.kill();
    }
    // Two looks in each of two places, a claim and its mark in each, and their removal.
    expect(steps).toBeGreaterThan(12);
  });

  it("leaves nothing in the way when it has been killed 1,500 times, also of another boot", async () => {
    const { dev, ino } = statSync(image, { bigint: true });
    const [pid, start, , ...place] = newIdentity().split("-");
    const place2 = shared.find(existsSync) ?? folder;
    for (let count = 0; count < 1500; count++) {
      const use = count % 2 === 0 ? "w" : "r";
      const began =
        count % 3 === 0 ? [start, ...place.with(2, "anotherboot")] : [Number(start) - 1, ...place];
      const identity = [pid, began[0], count.toString(36), ...began.slice(1)].join("-");
      writeFileSync(join(folder, `.disk.qcow2.lock-${use}-${identity}`), "");
      writeFileSync(join(folder, `.disk.qcow2.lock-${use}-${identity}.held`), "");
      writeFileSync(join(place2, `${dev}-${ino}-${use}-${identity}.held`), "");
    }
    const lock = await ImageLock.take(image);
    expect(locks().length).toBe(4);
    lock.release();
    expect(locks()).toEqual([]);
  });

  it("of another image leaves nothing in the shared folder for long", async () => {
    const holder = new Holder();
    const other = join(folder, "other.qcow2");
    writeFileSync(other, "");
    expect(await holder.take("read", { path: other })).toBe("holds");
    await holder.kill();
    const { dev, ino } = statSync(other, { bigint: true });
    const left = () =>
      shared
        .filter(existsSync)
        .flatMap((each) => readdirSync(each))
        .filter((name) => name.startsWith(`${dev}-${ino}-`));
    expect(left().length).toBe(2);
    (await ImageLock.take(image)).release();
    expect(left()).toEqual([]);
  });
});

describe("what can't be seen", () => {
  it("is believed, and named with the way out", async () => {
    const [pid, start, random, , , ...place] = newIdentity().split("-");
    const parts = newIdentity().split("-");
    const elsewhere = [pid, start, random, "elsewhere", "0", "anotherboot", place[1]].join("-");
    const container = [...parts.slice(0, 6), "1"].join("-");
    for (const [identity, where] of [
      [elsewhere, "on elsewhere"],
      [container, "in another container"],
    ] as const) {
      for (const suffix of ["", ".held"])
        writeFileSync(join(folder, `.disk.qcow2.lock-w-${identity}${suffix}`), "");
      const pattern = join(folder, `.disk.qcow2.lock-w-${identity}*`);
      await expect(ImageLock.take(image)).rejects.toThrow(
        `${image}: process ${pid} ${where} writes the image; if it has ended, remove ${pattern}`,
      );
      expect(locks().length).toBe(2);
      execFileSync("sh", ["-c", `rm ${pattern}`]);
      (await ImageLock.take(image)).release();
    }
  });

  it("is told by names only: pipes, devices and files of other names are never opened", async () => {
    const dead = newIdentity().replace(/^(\d+)-\d+/, "$1-1");
    execFileSync("mkfifo", [join(folder, `.disk.qcow2.lock-w-${dead}.held`)]);
    execFileSync("mkfifo", [join(folder, ".disk.qcow2.lock-w-nonsense"), join(folder, ".disk.qcow2.lock")]);
    symlinkSync("/dev/zero", join(folder, ".disk.qcow2.lock-r-"));
    const lock = await ImageLock.take(image);
    lock.release();
    expect(locks().sort()).toEqual([".disk.qcow2.lock-r-", ".disk.qcow2.lock-w-nonsense"]);
  });
});

it("takes images with names as long as they can be, and nothing that is no file", async () => {
  const long = join(folder, `${"ä".repeat(126)}.g`);
  const longer = join(folder, `${"ä".repeat(126)}.h`);
  for (const path of [long, longer]) writeFileSync(path, "");
  const lock = await ImageLock.take(long);
  await expect(ImageLock.take(long)).rejects.toMatchObject(isTaken);
  (await ImageLock.take(longer)).release();
  lock.release();
  expect(readFileSync(long, "utf8")).toBe("");
  await expect(ImageLock.take(folder)).rejects.toThrow(/an image has to be a regular file/);
  await expect(ImageLock.take(join(folder, "none"))).rejects.toThrow(
    /none: can't open the file: there is no such file/,
  );
});
