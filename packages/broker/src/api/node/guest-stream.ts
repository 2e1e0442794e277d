/** A stream to a program in a VM's guest, through the daemon: WebSocket's messages as bytes, with back-pressure both ways. */
import type { WebSocket } from "ws";
import type { GuestStream, GuestStreamEvents } from "../../lifecycle/guest-port.js";

/** Bytes of one message: the daemon takes no longer ones. */
const MESSAGE = 65_536;
/** Bytes that wait to be sent above which a stream would rather have no more. */
const MOST_WAITING = 262_144;
/** Close codes of the daemon: the stream is over, or was not opened. */
const [CLOSE_NORMAL, CLOSE_FAILED] = [1000, 4000];

/** A stream whose connection is being made. */
export class SocketStream implements GuestStream {
  private socket: WebSocket | undefined;
  /** What is to be sent when there is a connection. */
  private readonly early: (Uint8Array | string)[] = [];
  private waiting = 0;
  private isFull = false;
  private isReading = true;
  private isOver = false;

  /** @param making gives the connection, paused; why it can't be had comes as `failed` */
  constructor(
    making: Promise<WebSocket>,
    private readonly events: GuestStreamEvents,
    private readonly reasonOf: (error: Error) => string,
  ) {
    making.then(
      (socket) => this.use(socket),
      (error: Error) => this.fail(this.reasonOf(error)),
    );
  }

  write(data: Uint8Array): boolean {
    if (this.isOver) return true;
    for (let at = 0; at < data.length; at += MESSAGE) this.send(data.subarray(at, at + MESSAGE));
    if (this.waiting >= MOST_WAITING) this.isFull = true;
    return !this.isFull;
  }

  end(): void {
    if (!this.isOver) this.send('{"end":true}');
  }

  reset(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.socket?.terminate();
  }

  setReading(isReading: boolean): void {
    this.isReading = isReading;
    if (isReading) this.socket?.resume();
    else this.socket?.pause();
  }

  private send(part: Uint8Array | string): void {
    this.waiting += part.length;
    if (this.socket === undefined) this.early.push(part);
    else this.sendNow(this.socket, part);
  }

  private sendNow(socket: WebSocket, part: Uint8Array | string): void {
    socket.send(part, { binary: typeof part !== "string" }, () => {
      this.waiting -= part.length;
      if (!this.isFull || this.isOver || this.waiting > MOST_WAITING / 2) return;
      this.isFull = false;
      this.events.drained();
    });
  }

  private use(socket: WebSocket): void {
    if (this.isOver) {
      socket.terminate();
      return;
    }
    this.socket = socket;
    for (const part of this.early.splice(0)) this.sendNow(socket, part);
    socket.on("message", (data, isBinary) => {
      if (this.isOver) return;
      if (isBinary) this.events.data(new Uint8Array(data as Buffer));
      else {
        const { opened, ended } = JSON.parse(data.toString()) as { opened?: boolean; ended?: boolean };
        if (opened) this.events.opened();
        if (ended) this.events.ended();
      }
    });
    socket.on("close", (code, reason) => {
      if (code === CLOSE_FAILED) this.fail(reason.toString());
      else if (!this.isOver) {
        this.isOver = true;
        this.events.closed(code !== CLOSE_NORMAL);
      }
    });
    if (this.isReading) socket.resume();
  }

  private fail(why: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.events.failed(why);
  }
}
