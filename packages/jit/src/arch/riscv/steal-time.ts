/**
 * Steal time as the guest sees it: a structure in its memory in which the host accounts the time that a hart wanted to
 * run and did not (RISC-V SBI specification 2.0, chapter 16, "Steal-time Accounting Extension").
 *
 * The guest reads the fields between two equal, even values of `sequence`; here they change between two of its
 * instructions, so that it can't see them halfway. The structure's place is part of the hart's state and goes with it
 * into snapshots.
 */

/** Guest RAM as the structure needs it; false where any byte lies outside. */
export interface StealMemory {
  read(gpa: number, target: Uint8Array): boolean;
  write(gpa: number, source: Uint8Array): boolean;
}

/** Bytes of the structure, which is also its alignment. */
export const STEAL_AREA_BYTES = 64;
/** No structure is set. */
export const NO_STEAL_AREA = -1;
/** Positions in the structure; the `preempted` flag at 16 stays 0, since only a running hart's structure is written. */
const [SEQUENCE, STEAL] = [0, 8];
const WRITTEN_BYTES = 16;

/** Zeroes a structure, as the guest may expect of one that it has just set. */
export function clearStealArea(memory: StealMemory, gpa: number): void {
  memory.write(gpa, new Uint8Array(STEAL_AREA_BYTES));
}

/**
 * Writes steal time into the structure at `gpa`.
 * @param nanoseconds since the hart was started
 */
export function writeStealTime(memory: StealMemory, gpa: number, nanoseconds: number): void {
  const bytes = new Uint8Array(WRITTEN_BYTES);
  if (!memory.read(gpa, bytes)) return;
  const view = new DataView(bytes.buffer);
  view.setUint32(SEQUENCE, (view.getUint32(SEQUENCE, true) + 2) & -2, true);
  view.setBigUint64(STEAL, BigInt(Math.max(0, Math.round(nanoseconds))), true);
  memory.write(gpa, bytes);
}
