/**
 * A guest's agent, for programs: each method is a connection of its own, so that many are under way at once and none waits for
 * another.
 */
import { type AgentCommand, AgentProcess, type CommandEnding, type CommandOutputs } from "./command.js";
import { AgentConnection, type AgentLimits } from "./connection.js";
import { type CopyPart, copyIn, copyOut } from "./copy.js";
import { AgentError } from "./errors.js";
import { FrameType, malformed, numbersOf, Operation, Power, words } from "./protocol.js";
import type { ConnectAgent } from "./stream.js";

/** What a command that was run to its end has left. */
export interface AgentResult {
  readonly end: CommandEnding;
  readonly output: Uint8Array;
  readonly errors: Uint8Array;
}

/** By what a guest is known. */
export interface GuestIdentity {
  /** 32 hexadecimal digits (machine-id(5)); empty where the guest has none. */
  readonly machineId: string;
  readonly hostName: string;
  /** Another one each time that the guest boots. */
  readonly bootId: string;
}

/** Bytes of output and errors together that {@link AgentClient.run} keeps unless told otherwise. */
const MOST_RESULT = 16 * 2 ** 20;
const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder();

/** A client. */
export class AgentClient {
  /** @param connect opens streams to the guest's ports */
  constructor(
    private readonly connect: ConnectAgent,
    private readonly limits: AgentLimits = {},
  ) {}

  /** The version of the protocol that the agent speaks. @throws AgentError (the promise rejects) `E_AGENT_ABSENT` where there is none */
  async ping(limits: AgentLimits = {}): Promise<number> {
    const answer = await this.ask(limits, Operation.ping);
    return numbersOf({ type: FrameType.done, payload: answer }, 4).getUint32(0, true);
  }

  /** Runs a command whose streams are in other hands. @throws AgentError `E_AGENT_REQUEST` for a command that can't be */
  exec(command: AgentCommand, outputs: CommandOutputs, limits: AgentLimits = {}): AgentProcess {
    return new AgentProcess(this.connect, command, outputs, { ...this.limits, ...limits });
  }

  /**
   * Runs a command to its end, and gives what it printed.
   * @param options `input` for it, none unless given; `most` bytes that it may print, 16 MiB unless given
   * @throws AgentError (the promise rejects) `E_AGENT_FAILED` where it prints more; see `AgentProcess.ended`
   */
  async run(
    command: AgentCommand,
    options: AgentLimits & { readonly input?: Uint8Array; readonly most?: number } = {},
  ): Promise<AgentResult> {
    const { input = new Uint8Array(0), most = MOST_RESULT, ...limits } = options;
    const [output, errors]: Uint8Array[][] = [[], []];
    let bytes = 0;
    const keep = (parts: Uint8Array[]) => (part: Uint8Array) => {
      bytes += part.length;
      if (bytes > most)
        throw new AgentError(
          "E_AGENT_FAILED",
          `the command has printed more than ${most} bytes: let it write a file`,
        );
      parts.push(part);
    };
    const running = this.exec(command, { output: keep(output!), errors: keep(errors!) }, limits);
    await running.write(input);
    running.endInput();
    const end = await running.ended;
    return { end, output: joined(output!), errors: joined(errors!) };
  }

  /** Copies into the guest; see `copyIn` in copy.ts. */
  copyIn(
    parts: AsyncIterable<CopyPart>,
    source: string,
    target: string,
    limits: AgentLimits = {},
  ): Promise<void> {
    return copyIn(this.connect, parts, source, target, { ...this.limits, ...limits });
  }

  /** Copies out of the guest: what is sent is read only as fast as parts are taken. */
  copyOut(path: string, limits: AgentLimits = {}): AsyncGenerator<CopyPart> {
    return copyOut(this.connect, path, { ...this.limits, ...limits });
  }

  /** Asks the guest to end by its own means, and to turn its power off, or to start again; resolves when that begins. */
  async powerOff(reboots = false, limits: AgentLimits = {}): Promise<void> {
    await this.ask(limits, Operation.power, words(reboots ? Power.reboot : Power.off));
  }

  /**
   * Sets the guest's wall clock.
   * @param milliseconds since 1970
   * @returns by how many milliseconds it was put forward
   */
  async setClock(milliseconds: number, limits: AgentLimits = {}): Promise<number> {
    const time = new DataView(new ArrayBuffer(12));
    const seconds = Math.floor(milliseconds / 1000);
    time.setBigInt64(0, BigInt(seconds), true);
    time.setUint32(8, Math.round((milliseconds - seconds * 1000) * 1e6) % 1e9, true);
    const answer = await this.ask(limits, Operation.clock, new Uint8Array(time.buffer));
    const before = numbersOf({ type: FrameType.done, payload: answer }, 12);
    return milliseconds - (Number(before.getBigInt64(0, true)) * 1000 + before.getUint32(8, true) / 1e6);
  }

  /** Sets the guest's host name, now and for its next start. @throws AgentError `E_AGENT_REQUEST` (the promise rejects) for no name */
  async setHostName(name: string, limits: AgentLimits = {}): Promise<void> {
    if (!/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/.test(name))
      throw new AgentError(
        "E_AGENT_REQUEST",
        `"${name}" is no host name: letters, digits, - and ., 64 at most`,
      );
    await this.ask(limits, Operation.hostName, textEncoder.encode(name));
  }

  /**
   * By what the guest is known.
   * @param renews whether it is given a new machine id first
   */
  async identity(renews = false, limits: AgentLimits = {}): Promise<GuestIdentity> {
    const answer = await this.ask(limits, Operation.identity, words(renews ? 1 : 0));
    const lines = textDecoder.decode(answer).split("\n");
    const [machineId = "", hostName = "", bootId = ""] = lines;
    if (
      lines.length !== 4 ||
      !/^([0-9a-f]{32})?$/.test(machineId) ||
      !/^[0-9a-f-]{0,36}$/.test(bootId) ||
      !/^[ -~]{0,64}$/.test(hostName)
    )
      throw malformed("an identity is none");
    return { machineId, hostName, bootId };
  }

  private async ask(
    limits: AgentLimits,
    operation: number,
    ...parts: readonly Uint8Array[]
  ): Promise<Uint8Array> {
    const connection = new AgentConnection(this.connect, { ...this.limits, ...limits }, operation, ...parts);
    try {
      return (await connection.expect(FrameType.done)).payload;
    } finally {
      connection.close();
    }
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
