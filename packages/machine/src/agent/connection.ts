/**
 * One operation's connection with a guest's agent: frames out with back-pressure, frames in one by one as they are asked for.
 * What came and was not asked for is bounded: above that the stream is not read.
 *
 * A stream's events only note what came. Whoever waits goes on in a microtask, outside of what the guest is doing.
 */
import { AgentError, AgentFailure } from "./errors.js";
import {
  AGENT_PORT,
  encodeFrame,
  type Frame,
  FrameReader,
  FrameType,
  malformed,
  PROTOCOL_VERSION,
  words,
} from "./protocol.js";
import type { AgentStream, ConnectAgent } from "./stream.js";

/** What limits an operation. */
export interface AgentLimits {
  /** Gives it up. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the agent's first answer; 10 s unless given. */
  readonly timeoutMs?: number | undefined;
}

/** Milliseconds for a first answer. */
const DEFAULT_TIMEOUT_MS = 10_000;
/** Bytes that came, above which no more are read before some are asked for. */
const MOST_KEPT = 262144;
const textDecoder = new TextDecoder();

/** A connection. */
export class AgentConnection {
  private readonly reader = new FrameReader();
  private readonly stream: AgentStream;
  /** Why no more frames come than those that are here. */
  private over: AgentError | undefined;
  private isHeld = false;
  private isFull = false;
  /** For the first answer. */
  private readonly timer: ReturnType<typeof setTimeout>;
  /** Hears no more of the signal. */
  private readonly forget: () => void;
  private wakeReader: () => void = () => {};
  private wakeWriters: (() => void)[] = [];

  /**
   * Opens a connection.
   * @param operation what it is for, with `parts` as the protocol says
   */
  constructor(
    connect: ConnectAgent,
    limits: AgentLimits,
    operation: number,
    ...parts: readonly Uint8Array[]
  ) {
    const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = limits;
    this.stream = connect(AGENT_PORT, {
      opened: () => {},
      failed: (why) => this.end(notOpened(why)),
      data: (data) => {
        this.reader.push(data);
        this.hold();
        this.wakeReader();
      },
      ended: () => this.end(lost()),
      drained: () => this.noteDrained(),
      closed: () => this.end(lost()),
    });
    this.timer = setTimeout(() => {
      const seconds = timeoutMs / 1000;
      this.end(new AgentError("E_AGENT_TIMEOUT", `the guest's agent has not answered for ${seconds} s`));
    }, timeoutMs);
    const giveUp = () => {
      this.end(new AgentError("E_AGENT_ABORTED", "it was given up"));
      this.close();
    };
    this.forget = () => signal?.removeEventListener("abort", giveUp);
    this.write(encodeFrame(FrameType.open, words(PROTOCOL_VERSION, operation), ...parts));
    signal?.addEventListener("abort", giveUp);
    if (signal?.aborted) giveUp();
  }

  /** Sends a frame; the result resolves when more should be sent, at once where nothing holds it. */
  send(type: number, ...parts: readonly Uint8Array[]): Promise<void> | undefined {
    return this.write(encodeFrame(type, ...parts));
  }

  /** The same, of a frame that is encoded. */
  sendFrame(bytes: Uint8Array): Promise<void> | undefined {
    return this.write(bytes);
  }

  /**
   * The next frame.
   * @throws AgentError (the promise rejects) `E_AGENT_FAILED` for what the agent says it can't do, `E_AGENT_LOST` at the end of
   *   all, `E_AGENT_ABSENT`, `E_AGENT_BUSY`, `E_AGENT_TIMEOUT`, `E_AGENT_ABORTED`, `E_AGENT_PROTOCOL`
   */
  async frame(): Promise<Frame> {
    for (;;) {
      const frame = this.take();
      if (frame !== undefined) {
        clearTimeout(this.timer);
        if (frame.type !== FrameType.failed) return frame;
        const error = failureOf(frame);
        this.close();
        throw error;
      }
      if (this.over !== undefined) {
        this.close();
        throw this.over;
      }
      await this.more();
    }
  }

  /** The next frame, which must be of this type. */
  async expect(type: number): Promise<Frame> {
    const frame = await this.frame();
    if (frame.type !== type) throw this.refuse(`a frame of type ${frame.type} came instead of ${type}`);
    return frame;
  }

  /** Ends the connection, whatever is on its way. */
  close(): void {
    this.forget();
    this.end(lost());
    this.stream.reset();
  }

  /** Ends it because of what the guest has sent; gives the error to throw. */
  refuse(what: string): AgentError {
    this.close();
    return malformed(what);
  }

  private take(): Frame | undefined {
    try {
      const frame = this.reader.next();
      this.hold();
      return frame;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Waits until something has come, or will not. */
  private more(): Promise<void> {
    return new Promise((resolve) => {
      this.wakeReader = resolve;
    });
  }

  private write(bytes: Uint8Array): Promise<void> | undefined {
    if (this.over !== undefined) return undefined;
    if (!this.stream.write(bytes)) this.isFull = true;
    if (!this.isFull) return undefined;
    return new Promise((resolve) => this.wakeWriters.push(resolve));
  }

  private noteDrained(): void {
    this.isFull = false;
    for (const wake of this.wakeWriters.splice(0)) wake();
  }

  private hold(): void {
    // A frame that is not whole yet has to become so.
    const isHeld = this.reader.kept > MOST_KEPT;
    if (isHeld === this.isHeld || this.over !== undefined) return;
    this.isHeld = isHeld;
    this.stream.setReading(!isHeld);
  }

  private end(why: AgentError): void {
    this.over ??= why;
    clearTimeout(this.timer);
    this.wakeReader();
    this.noteDrained();
  }
}

const lost = (): AgentError =>
  new AgentError("E_AGENT_LOST", "the connection with the guest's agent has ended before it was done");

function notOpened(why: string): AgentError {
  switch (why) {
    case "no-driver":
    case "refused":
      return new AgentError(
        "E_AGENT_ABSENT",
        why === "refused"
          ? "no agent listens in the guest: it is not there, or not yet"
          : "the guest has no virtio-vsock driver at work: it is not up yet, or has none",
      );
    case "too-many":
      return new AgentError(
        "E_AGENT_BUSY",
        "there are too many connections with the guest: wait for some to end",
      );
    default:
      return new AgentError("E_AGENT_ABSENT", why);
  }
}

/** What the agent says of something that it can't do. */
export function failureOf({ payload }: Frame): AgentError {
  if (payload.length < 4) return malformed("a failure has no number");
  const errorNumber = new DataView(payload.buffer, payload.byteOffset).getUint32(0, true);
  return new AgentFailure(printable(payload.subarray(4)), errorNumber);
}

/** Characters of a guest's text that a message repeats. */
const MOST_TEXT = 300;

/** A guest's text, for a message: without what would act on a terminal. */
export const printable = (bytes: Uint8Array): string =>
  textDecoder
    .decode(bytes.subarray(0, 4 * MOST_TEXT))
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?")
    .slice(0, MOST_TEXT);
