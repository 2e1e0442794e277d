/**
 * The disks of one VM in its thread: images opened, what lies over them, and what clones have of them. The daemon has
 * given the VM its images (`disk-claims.ts`) and holds the locks.
 *
 * A disk that is only read is the image, which clones share. An ephemeral one is an overlay in memory over it, which clones
 * fork. One that is written in place keeps for its clones what it overwrites, and theirs are overlays over the disk as it
 * was. An image is closed with its last user; whoever wrote to it has it flushed first.
 */
import type { VmSpec } from "@hyperfile/broker";
import type { BackupReport, DiskGate } from "@hyperfile/broker/guest";
import {
  type BackupResult,
  type BlockBackend,
  DiskError,
  ForkableDisk,
  type ImageStore,
  LATENCY_BOUNDS_MS,
  MeteredDisk,
  OVERLAY_CHUNK_BYTES,
  OverlayBackend,
  ThrottledDisk,
  TrackedDisk,
} from "@hyperfile/devices/disk";
import {
  formatOf,
  type ImageLink,
  type OpenImage,
  openImage,
  openStore,
  stampOf,
} from "@hyperfile/devices/node";
import type { Drive } from "@hyperfile/machine";
import type { SnapshotDisk } from "@hyperfile/machine/snapshot";
import { CliError } from "../errors.js";
import { imagePath, isWritten } from "./disk-claims.js";

type DiskSpec = VmSpec["disks"][number];

/** Memory that the changes of an ephemeral disk, or of a clone's, may take. */
const MOST_CHANGES = 2 ** 31;

/** What all disks of an image have in common. */
class SharedImage {
  private users = 1;

  constructor(
    readonly disk: BlockBackend,
    readonly links: readonly ImageLink[],
    private readonly close: () => Promise<void>,
  ) {}

  join(): this {
    this.users++;
    return this;
  }

  async leave(): Promise<void> {
    this.users--;
    if (this.users === 0) await this.close();
  }
}

/** How a disk is made of its image. */
type Layer =
  | { readonly kind: "readonly" }
  | { readonly kind: "ephemeral"; readonly overlay: OverlayBackend }
  | { readonly kind: "written"; readonly disk: ForkableDisk }
  | { readonly kind: "fork"; readonly disk: BlockBackend };

/** One disk of a VM. */
class GuestDisk {
  /** As the guest has it. What the host does for itself goes past it, and waits for no turn. */
  private readonly metered: MeteredDisk;
  /** For backups; a disk that is only read does not change. */
  readonly tracked: TrackedDisk;
  /** Machines that have it: one that is to take another's place has its disks, too. */
  private users = 1;
  private isBackingUp = false;
  private lastBackup:
    | { readonly store: string; readonly name: string; readonly id: string | undefined }
    | undefined;

  constructor(
    readonly spec: DiskSpec,
    private readonly image: SharedImage,
    private readonly layer: Layer,
    gate: DiskGate,
  ) {
    this.tracked = new TrackedDisk(this.top, spec.file);
    // What a backup reads is the host's business; what the guest waits for its turn is part of its latency.
    this.metered = new MeteredDisk(new ThrottledDisk(this.tracked, gate.line()));
  }

  static async open(spec: DiskSpec, folder: string, gate: DiskGate): Promise<GuestDisk> {
    const path = imagePath(spec, folder);
    const format = spec.format ?? (await formatOf(path));
    // A guest could write a header that names any file of the host's as its backing file.
    if (isWritten(spec) && spec.format === undefined && format === "raw")
      throw new CliError(
        "E_USAGE",
        `${spec.file}: say format: raw to have a raw image written to: if its guest wrote the header of another format, the image would be taken for one next time`,
      );
    const image: OpenImage = await openImage(path, {
      format: spec.format,
      isWritable: isWritten(spec),
      isLocked: true,
    });
    const { disk, links } = image;
    if (isWritten(spec)) {
      const forkable = new ForkableDisk(disk, { name: spec.file, forkLimitBytes: MOST_CHANGES });
      const shared = new SharedImage(forkable, links, async () => {});
      return new GuestDisk(spec, shared, { kind: "written", disk: forkable }, gate);
    }
    const shared = new SharedImage(disk, links, () => image.close());
    if (spec.readonly) return new GuestDisk(spec, shared, { kind: "readonly" }, gate);
    const overlay = new OverlayBackend(disk, { name: spec.file, limitBytes: MOST_CHANGES });
    return new GuestDisk(spec, shared, { kind: "ephemeral", overlay }, gate);
  }

  /** The disk that the machine has. */
  get drive(): Drive {
    const { readonly, cache, serial } = this.spec;
    return {
      disk: this.metered,
      isReadOnly: readonly,
      cache,
      snapshot: this.snapshot,
      ...(serial === undefined ? {} : { serial }),
    };
  }

  /** The same bytes for a clone, had at once; nothing is being written. */
  fork(gate: DiskGate): GuestDisk {
    const { spec, image, layer } = this;
    switch (layer.kind) {
      case "readonly":
        return new GuestDisk(spec, image.join(), layer, gate);
      case "ephemeral":
        return new GuestDisk(spec, image.join(), { kind: "ephemeral", overlay: layer.overlay.fork() }, gate);
      case "written":
      case "fork":
        return new GuestDisk(spec, image.join(), { kind: "fork", disk: layer.disk.fork!() }, gate);
    }
  }

  /**
   * The disk for the machine that is to take the place of the one that has it: nothing is being written, and nothing will be
   * before that one is over. What is in memory of an ephemeral disk comes from a snapshot.
   * @throws DiskError (the promise rejects) for a clone's disk that its original keeps; what the flush throws
   */
  async successor(gate: DiskGate): Promise<GuestDisk> {
    const { spec, image, layer } = this;
    switch (layer.kind) {
      case "ephemeral": {
        const overlay = new OverlayBackend(image.disk, { name: spec.file, limitBytes: MOST_CHANGES });
        return new GuestDisk(spec, image.join(), { kind: "ephemeral", overlay }, gate);
      }
      case "written":
        // The file shows what was written to it, as it will be looked at.
        await this.tracked.flush();
        break;
      case "fork":
        throw new DiskError(
          "E_IMAGE_UNSUPPORTED",
          `${spec.file}: the disk of a clone is kept by its original, and has no state to go back to: stop the VM first`,
        );
    }
    this.users++;
    return this;
  }

  /** What is counted of it. */
  counters(name: string): (readonly [string, number])[] {
    return Object.entries(this.metered.figures).flatMap(
      ([kind, { operations, bytes, milliseconds, latencies }]) => [
        [`${name}.${kind}.operations`, operations] as const,
        [`${name}.${kind}.bytes`, bytes] as const,
        [`${name}.${kind}.milliseconds`, milliseconds] as const,
        ...latencies.map(
          (count, at) => [`${name}.${kind}.within.${LATENCY_BOUNDS_MS[at] ?? "more"}`, count] as const,
        ),
      ],
    );
  }

  /**
   * Copies the disk as it is now to a new image of a store: what has changed since the last backup over a clone of that
   * one, where that is there as it was left. The image gets its name when it is whole.
   * @throws DiskError; `E_DISK_CLOSED` if the last machine that has the disk lets it go before
   */
  async backup(folder: string, name: string): Promise<BackupReport> {
    if (this.isBackingUp)
      throw new DiskError("E_DISK_BUSY", `${this.spec.file}: a backup is being made; wait until it is done`);
    this.isBackingUp = true;
    try {
      const store = openStore(folder);
      // A name that is taken is told before anything is copied.
      if ((await idOf(store, name)) !== undefined)
        throw new DiskError(
          "E_DISK_IO",
          `${folder}/images/${name}: there is such an image already; use another name`,
        );
      const draft = await freeDraft(store, name);
      const { lastBackup } = this;
      const isBase = lastBackup?.store === folder && (await idOf(store, lastBackup.name)) === lastBackup.id;
      if (isBase) await store.clone(lastBackup.name, draft);
      else await store.create(draft, { size: this.metered.size });
      try {
        const target = await store.open(draft, { isWritable: true });
        let result: BackupResult;
        try {
          result = await this.tracked.backup(target, { isWhole: !isBase });
          // From here on the disk counts what changes after this one, which has no name yet.
          this.lastBackup = undefined;
        } finally {
          await target.close();
        }
        await store.clone(draft, name);
        this.lastBackup = { store: folder, name, id: await idOf(store, name) };
        return { bytes: result.copiedBytes, isWhole: result.isWhole };
      } finally {
        await store.remove(draft).catch(() => {});
        await store.close();
      }
    } catch (error) {
      if (this.users > 0) throw error;
      throw new DiskError(
        "E_DISK_CLOSED",
        `${this.spec.file}: no backup ${name} was made: meanwhile the VM has ended, or gone back to a snapshot`,
        {},
        { cause: error },
      );
    } finally {
      this.isBackingUp = false;
    }
  }

  /** One of its machines lets it go; what it wrote is durable then. */
  async close(): Promise<void> {
    this.users--;
    if (this.users > 0) {
      if (this.layer.kind === "written") await this.tracked.flush();
      return;
    }
    try {
      if (this.layer.kind !== "readonly") await this.metered.close();
    } finally {
      await this.image.leave();
    }
  }

  private get top(): BlockBackend {
    const { layer } = this;
    if (layer.kind === "readonly") return this.image.disk;
    return layer.kind === "ephemeral" ? layer.overlay : layer.disk;
  }

  private get snapshot(): SnapshotDisk {
    const { layer, image, spec } = this;
    const stamps = () => Promise.all(image.links.map(stampOf));
    const overlay = layer.kind === "ephemeral" ? layer.overlay : undefined;
    return {
      size: this.metered.size,
      chunkBytes: OVERLAY_CHUNK_BYTES,
      settle: async () => {
        if (layer.kind === "fork")
          throw new DiskError(
            "E_IMAGE_UNSUPPORTED",
            `${spec.file}: the disk of a clone is kept by its original, which goes on writing to the image: it can't be saved; use ephemeral disks`,
          );
        if (layer.kind === "written") await this.tracked.flush();
        return { images: await stamps() };
      },
      verify: async ({ images }) => {
        const now = await stamps();
        if (Array.isArray(images) && images.length === now.length) {
          const changed = now.findIndex((stamp, at) => stamp !== images[at]);
          if (changed < 0) return;
          throw new DiskError(
            "E_IMAGE_FORMAT",
            `${image.links[changed]!.path} has been written or replaced since; start the VM without the snapshot, or use an ephemeral disk`,
          );
        }
        throw new DiskError("E_IMAGE_FORMAT", `${spec.file} is made of other images than it was`);
      },
      chunks: () => overlay?.changes() ?? [],
      adopt: (chunks) => {
        if (overlay !== undefined) overlay.adopt(chunks);
        else
          for (const _ of chunks)
            throw new DiskError("E_IMAGE_FORMAT", `${spec.file}: the snapshot is of an ephemeral disk`);
      },
    };
  }
}

/** What an image of a store is now; undefined if it is not there. */
async function idOf(store: ImageStore, name: string): Promise<string | undefined> {
  try {
    return JSON.stringify(await store.manifest(name));
  } catch {
    return undefined;
  }
}

/** A name for what is not whole yet. Of what backups that were killed have left, what nobody holds any more is removed. */
async function freeDraft(store: ImageStore, name: string): Promise<string> {
  for (let number = 1; ; number++) {
    const draft = number === 1 ? `${name}.unfinished` : `${name}.unfinished-${number}`;
    await store.remove(draft).catch(() => {});
    if (!(await store.has(draft))) return draft;
  }
}

/** The disks of one VM. */
export class GuestDisks {
  private closing: Promise<void> | undefined;

  private constructor(
    private readonly disks: readonly GuestDisk[],
    private readonly gate: DiskGate,
  ) {}

  /**
   * Opens them. Nothing is left open if one can't be opened.
   * @param folder from which their files are named
   * @param gate where their requests wait for their turns
   * @throws DiskError, CliError
   */
  static async open({ disks }: VmSpec, folder: string, gate: DiskGate): Promise<GuestDisks> {
    const open: GuestDisk[] = [];
    try {
      for (const spec of disks) open.push(await GuestDisk.open(spec, folder, gate));
    } catch (error) {
      await new GuestDisks(open, gate).close().catch(() => {});
      throw error;
    }
    return new GuestDisks(open, gate);
  }

  get drives(): readonly Drive[] {
    return this.disks.map(({ drive }) => drive);
  }

  /**
   * Disks for a clone, with the bytes that these have now; nothing is being written.
   * @param gate the clone's
   */
  fork(gate: DiskGate): GuestDisks {
    return new GuestDisks(
      this.disks.map((disk) => disk.fork(gate)),
      gate,
    );
  }

  /** Disks for the machine that is to take the place of this one; see `GuestDisk.successor`. @throws DiskError */
  async successors(): Promise<GuestDisks> {
    const made: GuestDisk[] = [];
    try {
      for (const disk of this.disks) made.push(await disk.successor(this.gate));
    } catch (error) {
      await new GuestDisks(made, this.gate).close().catch(() => {});
      throw error;
    }
    return new GuestDisks(made, this.gate);
  }

  /** Operations, bytes and latencies of each disk by name, and how the budget has held them up. */
  counters(): Readonly<Record<string, number>> {
    if (this.disks.length === 0) return {};
    const { operations, milliseconds } = this.gate.waits;
    return {
      ...Object.fromEntries(this.disks.flatMap((disk, at) => disk.counters(`disk${at}`))),
      "disks.throttled.operations": operations,
      "disks.throttled.milliseconds": milliseconds,
    };
  }

  /** Copies one as it is now to a new image of a store; see {@link BackupReport}. @throws DiskError */
  backup(disk: number, store: string, name: string): Promise<BackupReport> {
    return this.disks[disk]!.backup(store, name);
  }

  /** Makes durable what was written, and gives back the images that nobody else has. */
  close(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  private async closeAll(): Promise<void> {
    const results = await Promise.allSettled(this.disks.map((disk) => disk.close()));
    const failed = results.find((result) => result.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}
