/** A guest's side of streams for tests: one that keeps to credit, reads when it likes, and closes as Linux does. */
import { type VsockHeader, vsockOps, vsockShutdown } from "../src/virtio/vsock/packet.js";
import type { VsockDriver } from "./vsock-driver.js";

/** A socket of the guest. */
export class GuestSocket {
  /** What came and was read. */
  readonly read: Uint8Array[] = [];
  /** What came and was not. */
  private waiting: Uint8Array[] = [];
  isOpen = false;
  isClosed = false;
  /** The host sends nothing more, and all has come. */
  hostHasEnded = false;
  private received = 0;
  private forwarded = 0;
  private sent = 0;
  private hostForwarded = 0;
  private hostBuffer = 0;
  private hostShutdown = 0;
  private ownShutdown = 0;

  constructor(
    private readonly driver: VsockDriver,
    readonly port: number,
    readonly hostPort: number,
    private readonly bufferBytes: number,
  ) {}

  connect(): void {
    this.send(vsockOps.request);
  }

  accept(): void {
    this.isOpen = true;
    this.send(vsockOps.response);
  }

  /** Bytes that the host has room for. */
  get credit(): number {
    return this.hostBuffer - ((this.sent - this.hostForwarded) >>> 0);
  }

  write(bytes: Uint8Array): void {
    this.sent = (this.sent + bytes.length) >>> 0;
    this.send(vsockOps.readWrite, bytes);
  }

  /** Reads the next piece. */
  take(): void {
    const piece = this.waiting.shift();
    if (piece !== undefined) {
      this.read.push(piece);
      this.forwarded += piece.length;
      if (this.isOpen && !this.isClosed) this.send(vsockOps.creditUpdate);
    }
    this.hostHasEnded = (this.hostShutdown & vsockShutdown.send) !== 0 && this.waiting.length === 0;
    // What the host has done with is over as soon as it was read.
    if (this.hostShutdown === vsockShutdown.both && this.hostHasEnded && !this.isClosed) {
      this.isClosed = true;
      this.send(vsockOps.reset);
    }
  }

  shutdown(flags: number): void {
    this.ownShutdown |= flags;
    if (!this.isClosed) this.send(vsockOps.shutdown, undefined, this.ownShutdown);
  }

  receive(header: VsockHeader, bytes: Uint8Array): void {
    this.hostForwarded = header.forwarded;
    this.hostBuffer = header.bufferBytes;
    if (header.op === vsockOps.response) this.isOpen = true;
    if (header.op === vsockOps.reset) this.isClosed = true;
    if (header.op === vsockOps.shutdown) this.hostShutdown |= header.flags;
    if (header.op === vsockOps.creditRequest) this.send(vsockOps.creditUpdate);
    if (header.op !== vsockOps.readWrite) return;
    this.received += bytes.length;
    if (this.received - this.forwarded > this.bufferBytes) throw new Error("more than there is room for");
    this.waiting.push(bytes);
  }

  private send(op: number, bytes?: Uint8Array, flags = 0): void {
    this.driver.send(
      {
        ...{ sourcePort: this.port, destinationPort: this.hostPort, op, flags },
        ...{ bufferBytes: this.bufferBytes, forwarded: this.forwarded >>> 0 },
      },
      bytes,
    );
  }
}

/** Takes what came, and hands it to the sockets. */
export function dispatch(driver: VsockDriver, sockets: readonly GuestSocket[]): void {
  for (const { header, bytes } of driver.take())
    sockets
      .find(({ port, hostPort }) => port === header.destinationPort && hostPort === header.sourcePort)
      ?.receive(header, bytes);
}
