/**
 * GDB's remote serial protocol (GDB manual, appendix E), the part that a single-hart target needs: registers with a
 * target description, memory, breakpoints, watchpoints, continue, step, interrupt, detach, kill, and `monitor`.
 *
 * Bytes in, bytes out: the transport is the caller's. A malformed packet is answered with a NAK or an error reply, never
 * with an exception; what a packet or a reply can take is bounded by `PACKET_SIZE`. While the machine runs, nothing is
 * done but to halt, kill or leave it.
 */
import type { DebugRegister, DebugStop, DebugTarget, WatchKind } from "./target.js";

/** How a session ended. */
export type GdbEnd = "detached" | "killed";

/** What a session needs of its surroundings. */
export interface GdbSessionOptions {
  readonly target: DebugTarget;
  /** Sends bytes to the debugger. */
  readonly send: (bytes: Uint8Array) => void;
  /** The debugger detached or killed the program. */
  readonly ended: (how: GdbEnd) => void;
}

/** Longest packet that a debugger may send, in bytes; announced in `qSupported`. */
const PACKET_SIZE = 0x4000;
const INTERRUPT = 0x03;
const SIGINT = "T02thread:01;";
const SIGTRAP = "T05thread:01;";
/** Error replies; all but the first have numbers of POSIX. */
const E_REGISTER = "E01";
const E_ADDRESS = "E14";
const E_BUSY = "E16";
const E_INVALID = "E22";
const E_FULL = "E28";
/** Kinds of watchpoints by the number in `Z` packets, and their names in stop replies. */
const watchKinds: Readonly<Record<string, WatchKind>> = { "2": "write", "3": "read", "4": "access" };
const watchNames: Readonly<Record<WatchKind, string>> = { write: "watch", read: "rwatch", access: "awatch" };
/** Packets that are heeded while the machine runs. */
const WHILE_RUNNING = /^(k$|D|vKill)/;

/** One debugger connection. */
export class GdbSession {
  /** Bytes of the packet that is being received, after its `$`; undefined between packets. */
  private body: number[] | undefined;
  /** Digits of its checksum so far; undefined before its `#`. */
  private digits: string | undefined;
  private acknowledge = true;
  private running = false;
  private ended = false;
  private lastReply = "";
  private readonly registers: ReadonlyMap<number, DebugRegister>;
  private readonly general: readonly DebugRegister[];
  private readonly description: string;

  constructor(private readonly options: GdbSessionOptions) {
    const { features } = options.target;
    const all = features.flatMap(({ registers }) => registers);
    this.registers = new Map(all.map((register) => [register.number, register]));
    this.general = features.flatMap(({ isGeneral, registers }) => (isGeneral ? registers : []));
    this.description = targetDescription(options.target);
  }

  /** Takes bytes from the debugger. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.take(byte);
  }

  private take(byte: number): void {
    if (this.ended) return;
    if (byte === 0x24) {
      this.body = [];
      this.digits = undefined;
    } else if (this.body === undefined) this.takeOutside(byte);
    else if (this.digits !== undefined) {
      this.digits += String.fromCharCode(byte);
      if (this.digits.length === 2) this.finish(this.body, this.digits);
    } else if (byte === 0x23) this.digits = "";
    else if (this.body.length >= PACKET_SIZE) this.body = undefined;
    else this.body.push(byte);
  }

  /** A byte between packets: acknowledgements and the interrupt. */
  private takeOutside(byte: number): void {
    if (byte === INTERRUPT && this.running) this.options.target.halt();
    else if (byte === 0x2d && this.acknowledge && this.lastReply !== "") this.transmit(this.lastReply);
  }

  private finish(bytes: readonly number[], digits: string): void {
    this.body = undefined;
    const sum = bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
    if (!/^[0-9a-f]{2}$/i.test(digits) || Number.parseInt(digits, 16) !== sum) {
      if (this.acknowledge) this.transmit("-");
      return;
    }
    if (this.acknowledge) this.transmit("+");
    const packet = unescaped(bytes);
    if (this.running && !WHILE_RUNNING.test(packet)) return this.reply(E_BUSY);
    let reply: string | undefined;
    try {
      reply = this.handle(packet);
    } catch (error) {
      reply = `E.${(error instanceof Error ? error.message : String(error)).replace(/[^ -~]|[#$}*]/g, " ").slice(0, 200)}`;
    }
    if (reply !== undefined) this.reply(reply);
  }

  /** Answers before the owner hears of the end: it may close the connection at once. */
  private end(how: GdbEnd): undefined {
    this.reply("OK");
    this.ended = true;
    this.options.ended(how);
  }

  private reply(body: string): void {
    this.lastReply = `$${body}#${checksum(body).toString(16).padStart(2, "0")}`;
    this.transmit(this.lastReply);
  }

  private transmit(text: string): void {
    this.options.send(Uint8Array.from(text, (character) => character.charCodeAt(0)));
  }

  /** The reply to a packet; undefined if it comes later or never. */
  private handle(packet: string): string | undefined {
    const { target } = this.options;
    const rest = packet.slice(1);
    switch (packet[0]) {
      case "?":
        return SIGTRAP;
      case "g":
        return this.allRegisters();
      case "G":
        return this.writeAllRegisters(rest);
      case "p":
        return this.readRegister(rest);
      case "P":
        return this.writeRegister(rest);
      case "m":
        return this.readMemory(rest);
      case "M":
      case "X":
        return this.writeMemory(rest, packet[0]);
      case "Z":
      case "z":
        return this.point(rest, packet[0] === "Z");
      case "c":
        return rest === "" ? this.resume() : E_INVALID;
      case "s":
        return stopReply(target.step());
      case "v":
        return this.verbose(packet);
      case "q":
        return this.query(packet);
      case "Q":
        if (packet !== "QStartNoAckMode") return "";
        this.reply("OK");
        this.acknowledge = false;
        return undefined;
      case "H":
      case "T":
        return "OK";
      case "D":
        return this.end("detached");
      case "k":
        this.ended = true;
        this.options.ended("killed");
        return undefined;
      default:
        return "";
    }
  }

  private verbose(packet: string): string | undefined {
    if (packet === "vCont?") return "vCont;c;C;s;S";
    if (packet.startsWith("vCont;")) {
      const action = /^vCont;([cCsS])/.exec(packet)?.[1];
      if (action === undefined) return E_INVALID;
      return action.toLowerCase() === "s" ? stopReply(this.options.target.step()) : this.resume();
    }
    if (packet.startsWith("vKill")) {
      return this.end("killed");
    }
    return "";
  }

  private query(packet: string): string {
    if (packet.startsWith("qSupported")) {
      return `PacketSize=${PACKET_SIZE.toString(16)};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+`;
    }
    if (packet.startsWith("qXfer:features:read:target.xml:")) {
      const range = parseRange(packet.slice("qXfer:features:read:target.xml:".length));
      if (range === undefined) return E_INVALID;
      const [offset, length] = [Number(range.address), Math.min(range.length, PACKET_SIZE / 2)];
      const part = this.description.slice(offset, offset + length);
      return (offset + length >= this.description.length ? "l" : "m") + encodeEscapes(part);
    }
    if (packet.startsWith("qRcmd,")) return this.monitor(packet.slice("qRcmd,".length));
    if (packet === "qC") return "QC01";
    if (packet === "qfThreadInfo") return "m01";
    if (packet === "qsThreadInfo") return "l";
    if (packet === "qAttached" || packet.startsWith("qAttached:")) return "1";
    if (packet === "qSymbol::") return "OK";
    return "";
  }

  /** A command of a person: `monitor` at GDB's prompt. */
  private monitor(hex: string): string {
    const bytes = fromHex(hex);
    if (bytes === undefined) return E_INVALID;
    const [, name = "help", argument = ""] =
      /^\s*(\S+)\s*([\s\S]*?)\s*$/.exec(String.fromCharCode(...bytes)) ?? [];
    const { commands } = this.options.target;
    const lines = Object.values(commands).map(({ help }) => `${help}\n`);
    const known = Object.hasOwn(commands, name) ? commands[name] : undefined;
    if (known !== undefined) return textReply(`${known.run(argument)}\n`);
    if (name === "help") return textReply(["help: this list\n", ...lines].join(""));
    return textReply("no such command: use monitor help\n");
  }

  private resume(): undefined {
    this.running = true;
    this.options.target.resume((stop) => {
      this.running = false;
      if (!this.ended) this.reply(stopReply(stop));
    });
  }

  private readRegister(text: string): string {
    const register = this.registers.get(parseNumber(text));
    if (register === undefined) return E_REGISTER;
    const value = this.options.target.readRegister(register.number);
    return value === undefined ? E_REGISTER : littleEndian(value, register.bits);
  }

  private writeRegister(text: string): string {
    const [number = "", hex = "", ...more] = text.split("=");
    const register = this.registers.get(parseNumber(number));
    if (register === undefined) return E_REGISTER;
    const bytes = fromHex(hex);
    if (more.length > 0 || bytes === undefined || bytes.length !== register.bits / 8) return E_INVALID;
    return this.options.target.writeRegister(register.number, fromLittleEndian(bytes)) ? "OK" : E_REGISTER;
  }

  private allRegisters(): string {
    return this.general
      .map(({ number, bits }) => {
        const value = this.options.target.readRegister(number);
        return value === undefined ? "x".repeat(bits / 4) : littleEndian(value, bits);
      })
      .join("");
  }

  /** Writes what is there of the general registers; those given as `x` stay. Nothing is written if part is malformed. */
  private writeAllRegisters(hex: string): string {
    const writes: [number: number, value: bigint][] = [];
    let at = 0;
    for (const { number, bits } of this.general) {
      if (at === hex.length) break;
      const text = hex.slice(at, at + bits / 4);
      at += bits / 4;
      if (text === "x".repeat(bits / 4)) continue;
      const bytes = fromHex(text);
      if (bytes === undefined || bytes.length !== bits / 8) return E_INVALID;
      writes.push([number, fromLittleEndian(bytes)]);
    }
    if (at < hex.length) return E_INVALID;
    for (const [number, value] of writes) this.options.target.writeRegister(number, value);
    return "OK";
  }

  private readMemory(text: string): string {
    const range = this.rangeOf(text);
    if (range === undefined || range.length > PACKET_SIZE / 2) return E_INVALID;
    const bytes = this.options.target.readMemory(range.address, range.length);
    return bytes === undefined ? E_ADDRESS : toHex(bytes);
  }

  private writeMemory(text: string, kind: "M" | "X"): string {
    const colon = text.indexOf(":");
    const range = colon < 0 ? undefined : this.rangeOf(text.slice(0, colon));
    if (range === undefined) return E_INVALID;
    const data = text.slice(colon + 1);
    const bytes =
      kind === "X" ? Uint8Array.from(data, (character) => character.charCodeAt(0)) : fromHex(data);
    if (bytes === undefined || bytes.length !== range.length) return E_INVALID;
    return this.options.target.writeMemory(range.address, bytes) ? "OK" : E_ADDRESS;
  }

  /** Breakpoints and watchpoints: `kind,address,length`. */
  private point(text: string, enabled: boolean): string {
    const [kind = "", ...rest] = text.split(";")[0]!.split(",");
    if (!/^[0-4]$/.test(kind)) return "";
    const range = rest.length === 2 ? this.rangeOf(rest.join(",")) : undefined;
    if (range === undefined) return E_INVALID;
    const { target } = this.options;
    const watch = watchKinds[kind];
    const done =
      watch === undefined
        ? target.setBreakpoint(range.address, enabled)
        : target.setWatchpoint(watch, range.address, range.length, enabled);
    return done ? "OK" : E_FULL;
  }

  /** Address and length of bytes that lie in the address space. */
  private rangeOf(text: string): { address: bigint; length: number } | undefined {
    const range = parseRange(text);
    if (range === undefined) return undefined;
    const end = range.address + BigInt(range.length);
    return end > 1n << BigInt(this.options.target.addressBits) ? undefined : range;
  }
}

/** Why the machine stands: a step that nothing has stopped stands after its instruction. */
function stopReply(stop: DebugStop | undefined): string {
  if (stop === "halted") return SIGINT;
  if (stop === "exited") return "W00";
  if (typeof stop !== "object") return SIGTRAP;
  return `T05${watchNames[stop.watch]}:${stop.address.toString(16)};thread:01;`;
}

/** What a command shows, in hexadecimal digits; the end is left out if it is too long for a packet. */
const textReply = (text: string): string =>
  toHex(Uint8Array.from(text.slice(0, PACKET_SIZE / 2), (character) => character.charCodeAt(0) & 0xff));

/** A number of a few hexadecimal digits; NaN if it is none. */
const parseNumber = (hex: string): number =>
  /^[0-9a-f]{1,8}$/i.test(hex) ? Number.parseInt(hex, 16) : Number.NaN;

const checksum = (body: string): number => {
  let sum = 0;
  for (let at = 0; at < body.length; at++) sum = (sum + body.charCodeAt(at)) & 0xff;
  return sum;
};

/** A packet's characters, one a byte: `}` stands before one that is changed in bit 5. */
function unescaped(bytes: readonly number[]): string {
  const text: string[] = [];
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] === 0x7d && at + 1 < bytes.length ? bytes[++at]! ^ 0x20 : bytes[at]!;
    text.push(String.fromCharCode(byte));
  }
  return text.join("");
}

const encodeEscapes = (body: string): string =>
  body.replace(/[#$}*]/g, (character) => `}${String.fromCharCode(character.charCodeAt(0) ^ 0x20)}`);

const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Bytes of hexadecimal digits; undefined if there is anything else, or half a byte. */
const fromHex = (hex: string): Uint8Array | undefined =>
  hex.length % 2 === 0 && /^[0-9a-f]*$/i.test(hex)
    ? Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
    : undefined;

function littleEndian(value: bigint, bits: number): string {
  const bytes = new Uint8Array(bits / 8);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number((value >> BigInt(8 * at)) & 0xffn);
  return toHex(bytes);
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

const parseAddress = (hex: string): bigint | undefined =>
  /^[0-9a-fA-F]{1,16}$/.test(hex) ? BigInt(`0x${hex}`) : undefined;

function parseRange(text: string): { address: bigint; length: number } | undefined {
  const [address = "", length = "", ...more] = text.split(",");
  const at = parseAddress(address);
  return at === undefined || more.length > 0 || !/^[0-9a-fA-F]{1,8}$/.test(length)
    ? undefined
    : { address: at, length: Number.parseInt(length, 16) };
}

/** The XML by which GDB learns the target's registers (GDB manual, appendix G). */
export function targetDescription(target: DebugTarget): string {
  const features = target.features.map((feature) => {
    const registers = feature.registers.map(
      ({ name, bits, number, type }) =>
        `<reg name="${name}" bitsize="${bits}" regnum="${number}" type="${type}"/>`,
    );
    return `<feature name="${feature.name}">${registers.join("")}</feature>`;
  });
  return `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0"><architecture>${target.architecture}</architecture>${features.join("")}</target>`;
}
