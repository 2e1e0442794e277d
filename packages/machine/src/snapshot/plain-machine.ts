/** What a machine has to be to go on from a snapshot, where only plain ones can be made: in a page. */
import type { Xlen } from "../isa.js";
import type { SnapshotFile } from "./format.js";

/** A machine with a console, entropy, a balloon, and perhaps a device for sockets; with nothing else. */
export interface PlainMachine {
  readonly xlen: Xlen;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  /** Whether it has a device for sockets, as Debian's machines under a daemon have. */
  readonly hasSockets: boolean;
}

/** Devices that each of them has. */
const ALWAYS: readonly string[] = ["console", "entropy", "balloon"];

/**
 * The machine of a snapshot, or in which way it is not plain, as the end of a sentence about it.
 * @throws SnapshotError for a damaged snapshot
 */
export function plainMachineOf(file: SnapshotFile): PlainMachine | { readonly problem: string } {
  const { config } = file.record("machine") as { config?: Record<string, unknown> };
  const { xlen, ramBytes, devices, time, regions } = config ?? {};
  const names = typeof devices === "string" ? devices.split(" ") : [];
  const others = names.filter((name) => !ALWAYS.includes(name) && name !== "vsock");
  if (others.length > 0) return { problem: `has ${others.join(", ")}` };
  if (time !== "host") return { problem: "is in virtual time" };
  if (regions !== undefined) return { problem: "has memory beside its RAM" };
  if ((xlen !== 32 && xlen !== 64) || typeof ramBytes !== "number")
    return { problem: "is of no kind that is known here" };
  return { xlen, ramBytes, hasSockets: names.includes("vsock") };
}
