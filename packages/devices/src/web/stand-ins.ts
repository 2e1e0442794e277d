/**
 * Addresses that stand for names. A page can't resolve names, and can't connect to addresses that others have resolved: a
 * guest that asks for a name is given an address of a range that nobody has (RFC 2544), and when it connects there the name
 * is known again. Bounded: the name that was used the longest time ago makes room, and its address stays without one until all
 * others were given, so that a guest that still has it reaches nobody else by it.
 */
import { formatIp } from "../net/addresses.js";
import { addressRecord, dnsAnswer, dnsCodes, dnsTypes, parseQuery } from "../net/nat/dns/message.js";

/** The range. */
export const STAND_INS = "198.18.0.0/15";
const FIRST = (198 << 24) | (18 << 16);
/** Addresses of the range, without the first and the last. */
const COUNT = (1 << 17) - 2;
const MOST_NAMES = 4096;
/** Seconds for which a guest may keep an answer. */
const LIFETIME_S = 60;
/** Ends of names that mean the host of who asks, or its network (RFC 6761, 6762, 8375; ICANN, 2024). */
const closedEnds = [".localhost", ".local", ".internal", ".home.arpa", ".lan", ".invalid", ".onion"];

/** The names. */
export class StandIns {
  /** In the order of their use. */
  private readonly addresses = new Map<string, string>();
  private readonly names = new Map<string, string>();
  private last = 0;

  /** Names that there are. */
  get size(): number {
    return this.addresses.size;
  }

  /** The name that an address stands for. */
  nameOf(address: string): string | undefined {
    const name = this.names.get(address);
    if (name !== undefined) this.touch(name, address);
    return name;
  }

  /** Answers a query in the form of DNS: one address for a name that may be public, and nothing else; undefined for no query. */
  answer(message: Uint8Array): Uint8Array | undefined {
    const question = parseQuery(message);
    if (question === undefined) return undefined;
    const { name, type, isInternet } = question;
    if (!isPublicName(name)) return dnsAnswer(message, question, dnsCodes.name);
    const records = isInternet && type === dnsTypes.a ? [addressRecord(this.addressFor(name))] : [];
    return dnsAnswer(message, question, dnsCodes.ok, records, LIFETIME_S);
  }

  private addressFor(name: string): string {
    const known = this.addresses.get(name);
    if (known !== undefined) {
      this.touch(name, known);
      return known;
    }
    if (this.addresses.size >= MOST_NAMES)
      for (const [oldest, address] of this.addresses) {
        this.addresses.delete(oldest);
        this.names.delete(address);
        break;
      }
    let address: string;
    do {
      this.last = (this.last % COUNT) + 1;
      const value = FIRST + this.last;
      address = formatIp(Uint8Array.of(value >>> 24, value >> 16, value >> 8, value));
    } while (this.names.has(address));
    this.addresses.set(name, address);
    this.names.set(address, name);
    return address;
  }

  private touch(name: string, address: string): void {
    this.addresses.delete(name);
    this.addresses.set(name, address);
  }
}

/** Whether a name may be that of a public place, and a URL takes it as it is: some would be read as addresses there. */
function isPublicName(name: string): boolean {
  if (!name.includes(".") || closedEnds.some((end) => name.endsWith(end))) return false;
  try {
    return new URL(`http://${name}/`).hostname === name && /[a-z]/.test(name.slice(name.lastIndexOf(".")));
  } catch {
    return false;
  }
}
