/**
 * Reads captures in the pcapng format as a reader of others' files would, from the draft and not from our writer: either
 * byte order, unknown blocks and options passed over, everything else that is not as it must be refused.
 */

/** A capture, read. */
export interface ReadCapture {
  /** In their order; `resolution` is the negative power of ten of a unit of time. */
  readonly interfaces: {
    readonly name: string;
    readonly link: number;
    readonly snapLength: number;
    readonly resolution: number;
  }[];
  readonly packets: {
    /** Name of its interface. */
    readonly on: string;
    readonly direction: "inbound" | "outbound" | "unknown";
    readonly time: bigint;
    readonly bytes: Uint8Array;
    /** Before it was cut. */
    readonly length: number;
    readonly missing: number;
  }[];
  readonly statistics: { readonly on: string; readonly received: number; readonly dropped: number }[];
}

/** @throws Error for what is no whole capture */
export function readPcapng(file: Uint8Array): ReadCapture {
  const all = new DataView(file.buffer, file.byteOffset, file.length);
  const capture: ReadCapture = { interfaces: [], packets: [], statistics: [] };
  const must = (condition: boolean, what: string, at: number) => {
    if (!condition) throw new Error(`${what} at ${at} of ${file.length}`);
  };
  must(file.length >= 28 && all.getUint32(0) === 0x0a0d0d0a, "no section header", 0);
  const little = all.getUint32(8) === 0x4d3c2b1a;
  must(little || all.getUint32(8) === 0x1a2b3c4d, "no byte-order magic", 8);
  const u16 = (at: number) => all.getUint16(at, little);
  const u32 = (at: number) => all.getUint32(at, little);
  const u64 = (at: number) => Number(all.getBigUint64(at, little));
  const optionsOf = (from: number, end: number) => {
    const found = new Map<number, { at: number; length: number }>();
    for (let at = from; at < end; ) {
      must(at + 4 <= end, "half an option", at);
      const [code, length] = [u16(at), u16(at + 2)];
      if (code === 0) {
        must(length === 0 && at + 4 === end, "an end of options that is none", at);
        break;
      }
      must(at + 4 + length <= end, "an option that is too long", at);
      found.set(code, { at: at + 4, length });
      at += 4 + length + (length % 4 === 0 ? 0 : 4 - (length % 4));
    }
    return found;
  };
  const nameOf = (id: number, at: number): string => {
    must(id < capture.interfaces.length, "an interface that nobody described", at);
    return capture.interfaces[id]!.name;
  };
  for (let at = 0; at < file.length; ) {
    must(at + 12 <= file.length, "half a block", at);
    const length = u32(at + 4);
    must(length >= 12 && length % 4 === 0 && at + length <= file.length, "a length that can't be", at);
    must(u32(at + length - 4) === length, "two lengths of one block", at);
    const end = at + length - 4;
    switch (u32(at)) {
      case 0x0a0d0d0a:
        must(at === 0 && u16(at + 12) === 1 && u16(at + 14) === 0, "a section that is not understood", at);
        must(all.getBigInt64(at + 16, little) === -1n, "a length of the section", at);
        optionsOf(at + 24, end);
        break;
      case 1: {
        const options = optionsOf(at + 16, end);
        const name = options.get(2);
        const resolution = options.get(9);
        capture.interfaces.push({
          name:
            name === undefined ? "" : new TextDecoder().decode(file.subarray(name.at, name.at + name.length)),
          link: u16(at + 8),
          snapLength: u32(at + 12),
          resolution: resolution === undefined ? 6 : file[resolution.at]!,
        });
        break;
      }
      case 6: {
        const kept = u32(at + 20);
        must(at + 28 + kept <= end, "a packet that is longer than its block", at);
        const options = optionsOf(at + 28 + Math.ceil(kept / 4) * 4, end);
        const [flags, missing] = [options.get(2), options.get(4)];
        capture.packets.push({
          on: nameOf(u32(at + 8), at),
          direction: (["unknown", "inbound", "outbound"] as const)[
            flags === undefined ? 0 : u32(flags.at) & 3
          ]!,
          time: (BigInt(u32(at + 12)) << 32n) | BigInt(u32(at + 16)),
          bytes: file.slice(at + 28, at + 28 + kept),
          length: u32(at + 24),
          missing: missing === undefined ? 0 : u64(missing.at),
        });
        break;
      }
      case 5: {
        const options = optionsOf(at + 20, end);
        const [received, dropped] = [options.get(4), options.get(5)];
        must(received?.length === 8 && dropped?.length === 8, "statistics without figures", at);
        capture.statistics.push({
          on: nameOf(u32(at + 8), at),
          received: u64(received!.at),
          dropped: u64(dropped!.at),
        });
        break;
      }
    }
    at += length;
  }
  return capture;
}
