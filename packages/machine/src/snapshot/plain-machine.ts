/** What a machine has to be to go on from a snapshot, where only plain ones can be made: in a page. */
import type { Xlen } from "../isa.js";
import type { SnapshotFile } from "./format.js";
import { cut } from "./shown.js";

/** A machine with a console, entropy, a balloon, and perhaps network cards and a device for sockets; with nothing else. */
export interface PlainMachine {
  readonly xlen: Xlen;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  /** Whether it has a device for sockets, as Debian's machines under a daemon have. */
  readonly hasSockets: boolean;
  /** Addresses that its network cards have, as `52:54:00:12:34:56`, in their order. */
  readonly nics: readonly string[];
}

/** Devices that each of them has. */
const ALWAYS: readonly string[] = ["console", "entropy", "balloon"];
/** Those that it may have besides. */
const OTHERS: readonly string[] = ["net", "vsock"];
/** Section of what is on the board. */
const BOARD = "state/board";

/**
 * The machine of a snapshot, or in which way it is not plain, as the end of a sentence about it.
 * @throws SnapshotError for a damaged snapshot
 */
export function plainMachineOf(file: SnapshotFile): PlainMachine | { readonly problem: string } {
  const { config } = file.record("machine") as { config?: Record<string, unknown> };
  const { xlen, ramBytes, devices, time, regions } = config ?? {};
  const names = typeof devices === "string" ? devices.split(" ") : [];
  const others = names.filter((name) => ![...ALWAYS, ...OTHERS].includes(name));
  if (others.length > 0) return { problem: `has ${cut(others.join(", "))}` };
  if (time !== "host") return { problem: "is in virtual time" };
  if (regions !== undefined) return { problem: "has memory beside its RAM" };
  if ((xlen !== 32 && xlen !== 64) || typeof ramBytes !== "number")
    return { problem: "is of no kind that is known here" };
  const cards = names.filter((name) => name === "net").length;
  const nics = cards === 0 ? [] : cardsOf(file);
  if (nics.length !== cards) return { problem: "is of no kind that is known here" };
  return { xlen, ramBytes, hasSockets: names.includes("vsock"), nics };
}

/** The addresses of the cards on the board: a card's state has its own (`virtio/net` of the devices). */
function cardsOf(file: SnapshotFile): string[] {
  return Object.values(file.record(BOARD)).flatMap((state) => {
    const { device } = (state ?? {}) as { readonly device?: { readonly mac?: unknown } };
    const mac = device?.mac;
    return typeof mac === "string" && /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(mac) ? [mac] : [];
  });
}
