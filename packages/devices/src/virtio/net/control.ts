/** Commands of the control queue (virtio 1.2, section 5.1.6.5): how many pairs of queues are used, and that it announced itself. */
import type { DescriptorChain } from "../descriptor-chain.js";

/** class, command. */
const COMMAND_BYTES = 2;
/** Longest command that is understood, with its data. */
const MOST_BYTES = 4;
const commands = { announceAck: 0x0300, pairsSet: 0x0400 } as const;

/** What was answered. */
export const controlAck = { ok: 0, error: 1 } as const;

/** What a driver asks; `unknown` is answered by an error. */
export type ControlCommand =
  | { readonly kind: "announced" | "unknown" }
  | { readonly kind: "pairs"; readonly pairs: number };

/** Reads a command; undefined for a chain that has none, or no room for an answer. */
export function parseControl(chain: DescriptorChain): ControlCommand | undefined {
  if (chain.readableBytes < COMMAND_BYTES || chain.writableBytes < 1) return undefined;
  if (chain.readableBytes > MOST_BYTES) return { kind: "unknown" };
  const bytes = new Uint8Array(chain.readableBytes);
  if (chain.read(bytes) < bytes.length) return undefined;
  const view = new DataView(bytes.buffer);
  const command = view.getUint16(0);
  if (command === commands.announceAck && bytes.length === COMMAND_BYTES) return { kind: "announced" };
  if (command === commands.pairsSet && bytes.length === MOST_BYTES)
    return { kind: "pairs", pairs: view.getUint16(2, true) };
  return { kind: "unknown" };
}
