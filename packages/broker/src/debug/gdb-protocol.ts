/**
 * GDB's remote serial protocol (GDB manual, appendix E), the part that a single-hart target needs: registers with
 * a target description, memory, software and hardware breakpoints, continue, step, interrupt, detach, kill.
 *
 * Bytes in, bytes out: the transport is the caller's. A malformed packet is answered with a NAK or an error reply,
 * never with an exception.
 */
import type { DebugTarget } from "./target.js";

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

/** One debugger connection. */
export class GdbSession {
  private buffer = "";
  private acknowledge = true;
  private running = false;
  private lastReply = "";

  constructor(private readonly options: GdbSessionOptions) {}

  /** Takes bytes from the debugger. */
  receive(bytes: Uint8Array): void {
    for (const byte of bytes) this.take(byte);
  }

  private take(byte: number): void {
    if (this.buffer === "") {
      if (byte === INTERRUPT) {
        if (this.running) this.options.target.halt();
      } else if (byte === 0x24) this.buffer = "$";
      else if (byte === 0x2d && this.acknowledge) this.transmit(this.lastReply);
      return;
    }
    this.buffer += String.fromCharCode(byte);
    if (this.buffer.length > PACKET_SIZE + 4) {
      this.buffer = "";
      return;
    }
    const end = this.buffer.lastIndexOf("#");
    if (end < 0 || end !== this.buffer.length - 3) return;
    const body = this.buffer.slice(1, end);
    const expected = Number.parseInt(this.buffer.slice(end + 1), 16);
    this.buffer = "";
    if (checksum(body) !== expected) {
      if (this.acknowledge) this.transmit("-");
      return;
    }
    if (this.acknowledge) this.transmit("+");
    const reply = this.handle(decodeEscapes(body));
    if (reply !== undefined) this.reply(reply);
  }

  /** Answers before the owner hears of the end: it may close the connection at once. */
  private end(how: GdbEnd): undefined {
    this.reply("OK");
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
      case "p": {
        const register = Number.parseInt(rest, 16);
        const value = target.readRegister(register);
        return value === undefined ? "E01" : littleEndian(value, this.bitsOf(register));
      }
      case "P": {
        const [number, value] = rest.split("=");
        const done = target.writeRegister(Number.parseInt(number ?? "", 16), fromLittleEndian(value ?? ""));
        return done ? "OK" : "E01";
      }
      case "m":
        return this.readMemory(rest);
      case "M":
      case "X":
        return this.writeMemory(rest, packet[0]);
      case "Z":
      case "z":
        return this.breakpoint(rest, packet[0] === "Z");
      case "c":
        return this.resume();
      case "s":
        target.step();
        return SIGTRAP;
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
        this.options.ended("killed");
        return undefined;
      default:
        return "";
    }
  }

  private verbose(packet: string): string | undefined {
    if (packet === "vCont?") return "vCont;c;C;s;S";
    if (packet.startsWith("vCont;")) {
      const action = packet[6];
      if (action === "s" || action === "S") {
        this.options.target.step();
        return SIGTRAP;
      }
      return this.resume();
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
      const [offset = 0, length = 0] = packet
        .slice("qXfer:features:read:target.xml:".length)
        .split(",")
        .map((number) => Number.parseInt(number, 16));
      const xml = targetDescription(this.options.target);
      const part = xml.slice(offset, offset + length);
      return (offset + length >= xml.length ? "l" : "m") + encodeEscapes(part);
    }
    if (packet === "qC") return "QC01";
    if (packet === "qfThreadInfo") return "m01";
    if (packet === "qsThreadInfo") return "l";
    if (packet === "qAttached" || packet.startsWith("qAttached:")) return "1";
    if (packet === "qSymbol::") return "OK";
    return "";
  }

  private resume(): undefined {
    this.running = true;
    this.options.target.resume((reason) => {
      this.running = false;
      this.reply(reason === "breakpoint" ? SIGTRAP : reason === "halted" ? SIGINT : "W00");
    });
  }

  private bitsOf(register: number): 32 | 64 {
    for (const feature of this.options.target.features) {
      const found = feature.registers[register - feature.first];
      if (register >= feature.first && found !== undefined) return found.bits;
    }
    return this.options.target.addressBits;
  }

  private registerNumbers(): number[] {
    return this.options.target.features.flatMap((feature) =>
      feature.registers.map((_, position) => feature.first + position),
    );
  }

  private allRegisters(): string {
    return this.registerNumbers()
      .map((register) => {
        const bits = this.bitsOf(register);
        const value = this.options.target.readRegister(register);
        return value === undefined ? "x".repeat(bits / 4) : littleEndian(value, bits);
      })
      .join("");
  }

  private writeAllRegisters(hex: string): string {
    let at = 0;
    for (const register of this.registerNumbers()) {
      const digits = this.bitsOf(register) / 4;
      const value = hex.slice(at, at + digits);
      if (value.length === digits && !value.includes("x")) {
        this.options.target.writeRegister(register, fromLittleEndian(value));
      }
      at += digits;
    }
    return "OK";
  }

  private readMemory(text: string): string {
    const range = parseRange(text);
    if (range === undefined || range.length > PACKET_SIZE / 2) return "E22";
    const bytes = this.options.target.readMemory(range.address, range.length);
    return bytes === undefined ? "E14" : toHex(bytes);
  }

  private writeMemory(text: string, kind: "M" | "X"): string {
    const colon = text.indexOf(":");
    const range = parseRange(text.slice(0, colon));
    if (range === undefined) return "E22";
    const data = text.slice(colon + 1);
    const bytes =
      kind === "X" ? Uint8Array.from(data, (character) => character.charCodeAt(0)) : fromHex(data);
    if (bytes.length !== range.length) return "E22";
    return this.options.target.writeMemory(range.address, bytes) ? "OK" : "E14";
  }

  private breakpoint(text: string, enabled: boolean): string {
    const [kind, address] = text.split(",");
    if (kind !== "0" && kind !== "1") return "";
    const at = parseAddress(address ?? "");
    if (at === undefined) return "E22";
    this.options.target.setBreakpoint(at, enabled);
    return "OK";
  }
}

const checksum = (body: string): number => {
  let sum = 0;
  for (let at = 0; at < body.length; at++) sum = (sum + body.charCodeAt(at)) & 0xff;
  return sum;
};

const decodeEscapes = (body: string): string =>
  body.replace(/\}([\s\S])/g, (_, character: string) => String.fromCharCode(character.charCodeAt(0) ^ 0x20));

const encodeEscapes = (body: string): string =>
  body.replace(/[#$}*]/g, (character) => `}${String.fromCharCode(character.charCodeAt(0) ^ 0x20)}`);

const toHex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

const fromHex = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

function littleEndian(value: bigint, bits: number): string {
  const bytes = new Uint8Array(bits / 8);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number((value >> BigInt(8 * at)) & 0xffn);
  return toHex(bytes);
}

function fromLittleEndian(hex: string): bigint {
  let value = 0n;
  for (const byte of fromHex(hex).reverse()) value = (value << 8n) | BigInt(byte);
  return value;
}

const parseAddress = (hex: string): bigint | undefined =>
  /^[0-9a-fA-F]{1,16}$/.test(hex) ? BigInt(`0x${hex}`) : undefined;

function parseRange(text: string): { address: bigint; length: number } | undefined {
  const [address = "", length = ""] = text.split(",");
  const at = parseAddress(address);
  return at === undefined || !/^[0-9a-fA-F]{1,8}$/.test(length)
    ? undefined
    : { address: at, length: Number.parseInt(length, 16) };
}

/** The XML by which GDB learns the target's registers (GDB manual, appendix G). */
export function targetDescription(target: DebugTarget): string {
  const features = target.features.map((feature) => {
    const registers = feature.registers.map(
      (register, position) =>
        `<reg name="${register.name}" bitsize="${register.bits}" regnum="${feature.first + position}" type="${register.type}"/>`,
    );
    return `<feature name="${feature.name}">${registers.join("")}</feature>`;
  });
  return `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0"><architecture>${target.architecture}</architecture>${features.join("")}</target>`;
}
