/** What the embedded guest's `digest` command has to print, computed by the host. */
import { createHash } from "node:crypto";

/**
 * SHA-256, in hexadecimal, of the first `bytes` bytes that the guest generates: little-endian states of a 32-bit
 * xorshift (13, 17, 5), the first one being the state after one step from 0x2545f491.
 */
export function expectedDigest(bytes: number): string {
  const words = new Int32Array(Math.ceil(bytes / 4));
  let state = 0x2545f491;
  for (let at = 0; at < words.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at] = state;
  }
  return createHash("sha256")
    .update(new Uint8Array(words.buffer, 0, bytes))
    .digest("hex");
}
