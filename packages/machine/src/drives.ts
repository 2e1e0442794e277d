/** The disks of a machine: what they are made from, their devices, and what becomes of them in a clone. */
import type { BlockBackend } from "@hyperfile/devices/disk";
import { type VirtioBlockOptions, type VirtioDevice, virtioBlock } from "@hyperfile/devices/virtio";
import { MachineError } from "./errors.js";
import type { SnapshotDisk } from "./snapshot/disks.js";

/** A disk of a machine: a block device, whose disk stays the caller's to close after the last run. */
export interface Drive extends Omit<VirtioBlockOptions, "inOrder" | "queues"> {
  /** What of the disk goes into snapshots of the machine; nothing unless given: whoever restores one has the bytes. */
  readonly snapshot?: SnapshotDisk;
}

/**
 * Devices for disks.
 * @param inOrder whether requests are served one by one, so that a run repeats itself
 */
export function driveDevices(drives: readonly Drive[], inOrder: boolean): readonly VirtioDevice[] {
  const seen = new Map<BlockBackend, number>();
  drives.forEach(({ disk, isReadOnly = false }, index) => {
    const other = seen.get(disk);
    if (other !== undefined && !isReadOnly && !disk.isReadOnly)
      throw new MachineError("E_DISK", `drives ${other} and ${index} are the same disk: give each its own`);
    seen.set(disk, index);
  });
  return drives.map((drive) => virtioBlock({ ...drive, inOrder }).device);
}

/**
 * Disks for a clone, with the bytes that the original's have now.
 * @throws MachineError `E_DISK` for a disk that is written to and has no forks
 */
export function forkDrives(drives: readonly Drive[]): readonly Drive[] {
  // A fork of the disk is not what the original's snapshots hold.
  return drives.map(({ snapshot: _, ...drive }, index) => {
    const { disk, isReadOnly = false } = drive;
    const fork = disk.fork?.();
    if (fork !== undefined) return { ...drive, disk: fork };
    if (isReadOnly || disk.isReadOnly) return drive;
    throw new MachineError(
      "E_DISK",
      `drive ${index} can't be cloned, since the machine writes to it: put an overlay over it, or give the clone drives of its own`,
    );
  });
}
