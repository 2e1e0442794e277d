/** The addresses of a network for guests: its ranges, and who has which place in them. */
import { formatIp, type IpFamily, type IpRange, inRange, parseRange } from "../addresses.js";
import { NetworkError } from "../errors.js";

/** A range of a network. */
export class Subnet {
  readonly family: IpFamily;

  private constructor(
    readonly range: IpRange,
    /** Of the gateway. */
    readonly gateway: string,
    /** Of the name server. */
    readonly nameServer: string,
  ) {
    this.family = range.bytes.length === 4 ? 4 : 6;
  }

  /**
   * The range with the gateway at its second place and the name server at its third, as with QEMU.
   * @throws NetworkError (`E_NETWORK_OPTION`) for text that is no range, or one that is too small
   */
  static of(text: string, family: IpFamily): Subnet {
    const range = parseRange(text);
    const isFit =
      range !== undefined &&
      range.bytes.length === (family === 4 ? 4 : 16) &&
      (family === 4 ? range.prefix >= 8 && range.prefix <= 28 : range.prefix === 64);
    if (!isFit)
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `${JSON.stringify(text)} is no network for guests: write it like ${family === 4 ? "10.0.2.0/24 (8 to 28 bits)" : "fd00::/64 (64 bits)"}`,
      );
    const bytes = range.bytes.map((byte, index) => byte & maskByte(range.prefix, index));
    return new Subnet({ bytes, prefix: range.prefix }, formatIp(place(bytes, 2)), formatIp(place(bytes, 3)));
  }

  /** Whether an address is in it. */
  has(bytes: Uint8Array): boolean {
    return inRange(bytes, this.range);
  }

  /** The address at a place, counted from the range's first. */
  at(index: number): string {
    return formatIp(place(this.range.bytes, index));
  }

  /** Places that an IPv4 range has, those of network and broadcast among them. */
  get size(): number {
    return 2 ** (this.range.bytes.length * 8 - this.range.prefix);
  }

  /** The mask of an IPv4 range. */
  get mask(): Uint8Array {
    return this.range.bytes.map((_, index) => maskByte(this.range.prefix, index));
  }
}

const maskByte = (prefix: number, index: number): number =>
  (0xff00 >> Math.min(8, Math.max(0, prefix - 8 * index))) & 0xff;

function place(bytes: Uint8Array, index: number): Uint8Array {
  const result = bytes.slice();
  for (let at = result.length - 1, rest = index; rest > 0 && at >= 0; at--, rest = Math.floor(rest / 256))
    result[at]! |= rest % 256;
  return result;
}
