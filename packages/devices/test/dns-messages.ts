/** Messages of DNS for tests, written byte by byte. */

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A query for one name. */
export function dnsQuery(name: string, type: number, id = 0x1234): Uint8Array {
  const labels = name.split(".").flatMap((label) => [label.length, ...text(label)]);
  return Uint8Array.of(id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, type, 0, 1);
}

/** A query that says how much it takes by UDP. */
export function withOpt(query: Uint8Array, payload: number, version = 0): Uint8Array {
  const bytes = Uint8Array.of(...query, 0, 0, 41, payload >> 8, payload & 255, 0, version, 0, 0, 0, 0);
  bytes[11] = 1;
  return bytes;
}

/** An answer with addresses, and bytes behind it that are none. */
export function dnsReply(asked: Uint8Array, addresses: readonly Uint8Array[], pad = 0): Uint8Array {
  const records = addresses.flatMap((data) => {
    const type = data.length === 4 ? 1 : 28;
    return [0xc0, 12, 0, type, 0, 1, 0, 0, 0, 9, 0, data.length, ...data];
  });
  const bytes = Uint8Array.of(...asked, ...records, ...new Uint8Array(pad));
  bytes.set([0x81, 0x80], 2);
  bytes[7] = addresses.length;
  return bytes;
}

/** A message as it goes by TCP. */
export const framed = (message: Uint8Array): Uint8Array =>
  Uint8Array.of(message.length >> 8, message.length & 255, ...message);

/** The messages in what came by TCP; half of one is an error. */
export function unframed(stream: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (let at = 0; at < stream.length; ) {
    const end = at + 2 + stream[at]! * 256 + stream[at + 1]!;
    if (!(end <= stream.length)) throw new Error(`half a message at ${at}`);
    found.push(stream.subarray(at + 2, end));
    at = end;
  }
  return found;
}
