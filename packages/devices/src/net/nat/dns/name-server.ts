/**
 * The name server of a network: names of its guests first, then the host's servers. Bounded: so many questions are under
 * way at once, and so many for one guest; what exceeds that is refused at once, so that a flood costs others nothing.
 */
import { write16 } from "../../frames/ip.js";
import {
  addressesIn,
  addressRecord,
  type DnsQuestion,
  dnsAnswer,
  dnsCodes,
  dnsTypes,
  nameRecord,
  parseQuery,
  reverseAddress,
} from "./message.js";

const MOST_QUERIES = 256;
const MOST_PER_GUEST = 64;
/** Addresses whose names are remembered. */
const MOST_NAMES = 4096;
const NAMES_PER_ADDRESS = 8;
const OPCODE_QUERY = 0;
const EDNS_VERSION = 0;

/** What it needs of its network. */
export interface NameServerHost {
  /** Asks the host's servers. */
  query(message: Uint8Array): Promise<Uint8Array | undefined>;
  /** Addresses of a guest by its name, without the domain; undefined if there is no such guest. */
  addressesOf(name: string): readonly string[] | undefined;
  /** The name of a guest by its address. */
  nameOf(ip: string): string | undefined;
  /** Whether an address is one of the network, about which nobody else knows anything. */
  isInside(ip: string): boolean;
}

/** The server. */
export class NameServer {
  readonly counters = { queries: 0, local: 0, forwarded: 0, failed: 0, refused: 0, malformed: 0 };
  private readonly underWay = new Map<string, number>();
  private count = 0;
  /** Names that led to an address, by guest and address. */
  private readonly seen = new Map<string, readonly string[]>();

  constructor(
    private readonly host: NameServerHost,
    private readonly domain: string,
  ) {}

  /** Names that led a guest to an address lately. */
  namesOf(guest: string, ip: string): readonly string[] {
    return this.seen.get(`${guest} ${ip}`) ?? [];
  }

  /**
   * Answers a guest's message; `reply` is called once, at once or later, with the whole answer. The message is only lent.
   * @returns whether it is a query; if not, there is no answer
   */
  ask(
    guest: string,
    message: Uint8Array,
    reply: (answer: Uint8Array, question: DnsQuestion) => void,
  ): boolean {
    const question = parseQuery(message);
    if (question === undefined) {
      this.counters.malformed++;
      return false;
    }
    this.counters.queries++;
    const say = (code: number): true => {
      reply(dnsAnswer(message, question, code), question);
      return true;
    };
    if (question.opcode !== OPCODE_QUERY) return say(dnsCodes.notImplemented);
    if ((question.edns ?? EDNS_VERSION) > EDNS_VERSION) return say(dnsCodes.badVersion);
    const local = question.isInternet ? this.local(question.name, question.type) : undefined;
    if (local !== undefined) {
      this.counters.local++;
      reply(dnsAnswer(message, question, local.code, local.records), question);
      return true;
    }
    const own = this.underWay.get(guest) ?? 0;
    if (this.count >= MOST_QUERIES || own >= MOST_PER_GUEST) {
      this.counters.refused++;
      return say(dnsCodes.refused);
    }
    this.count++;
    this.underWay.set(guest, own + 1);
    this.counters.forwarded++;
    const copy = message.slice();
    void this.forward(copy).then((answer) => {
      this.count--;
      const left = this.underWay.get(guest)! - 1;
      if (left === 0) this.underWay.delete(guest);
      else this.underWay.set(guest, left);
      if (answer === undefined) {
        this.counters.failed++;
        reply(dnsAnswer(copy, question, dnsCodes.failure), question);
        return;
      }
      for (const ip of addressesIn(answer)) this.remember(guest, ip, question.name);
      const own = answer.slice();
      write16(own, 0, question.id);
      reply(own, question);
    });
    return true;
  }

  private async forward(message: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      const answer = await this.host.query(message);
      return answer === undefined || answer.length < 12 ? undefined : answer;
    } catch {
      // There is no answer then.
      return undefined;
    }
  }

  /** What is known here: guests, and that there are no others in this network. */
  private local(
    name: string,
    type: number,
  ): { code: number; records: readonly { type: number; data: Uint8Array }[] } | undefined {
    const reversed = reverseAddress(name);
    if (reversed !== undefined) {
      if (!this.host.isInside(reversed)) return undefined;
      const found = this.host.nameOf(reversed);
      if (found === undefined) return { code: dnsCodes.name, records: [] };
      const records = type === dnsTypes.ptr ? [nameRecord(`${found}.${this.domain}`)] : [];
      return { code: dnsCodes.ok, records };
    }
    const isOwn = name.endsWith(`.${this.domain}`);
    const plain = isOwn ? name.slice(0, -this.domain.length - 1) : name;
    const addresses = plain.includes(".") ? undefined : this.host.addressesOf(plain);
    if (addresses === undefined) return isOwn ? { code: dnsCodes.name, records: [] } : undefined;
    const records = addresses.map(addressRecord).filter((record) => record.type === type);
    return { code: dnsCodes.ok, records };
  }

  private remember(guest: string, ip: string, name: string): void {
    const key = `${guest} ${ip}`;
    const names = this.seen.get(key) ?? [];
    this.seen.delete(key);
    this.seen.set(key, names.includes(name) ? names : [...names, name].slice(-NAMES_PER_ADDRESS));
    if (this.seen.size <= MOST_NAMES) return;
    for (const oldest of this.seen.keys()) {
      this.seen.delete(oldest);
      return;
    }
  }
}
