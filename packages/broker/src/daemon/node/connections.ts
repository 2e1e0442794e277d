/**
 * The connections that clients have. There is a limit to their number, and another one where the process runs out of
 * files; at either a connection for which the daemon does nothing makes room for the next one: first one that has asked
 * nothing, or not all of it yet, the oldest first, and then one that takes nothing of its answer. So whoever asks is
 * heard, however many others keep connections open and say nothing.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { hasDescriptors } from "../../lifecycle/node/file-descriptors.js";

/**
 * Connections at a time. Those that may last (consoles, streams to guests and of events, captures, requests that take long) have limits
 * of their own, 784 together, which leaves some for all others.
 */
const MOST_CONNECTIONS = 1024;
/** Descriptors that connections leave free, and a number of connections at which there is no need to look. */
const [SPARE_DESCRIPTORS, FEW_CONNECTIONS] = [16, 16];

/** Connections. */
export class Connections {
  /** Requests of each that are in the daemon's hands; those that have been silent for longest first. */
  private readonly requests = new Map<Socket, number>();

  /**
   * @param refuse answers on a connection that there are too many, and ends it
   * @param changed is called when their number has changed
   * @param most of them
   * @param hasRoom whether the process can have so many more files
   */
  constructor(
    private readonly refuse: (socket: Socket, open: number) => void,
    private readonly changed: () => void,
    private readonly most = MOST_CONNECTIONS,
    private readonly hasRoom: (descriptors: number) => boolean = hasDescriptors,
  ) {}

  get count(): number {
    return this.requests.size;
  }

  /** A client has connected. */
  add(socket: Socket): void {
    if (this.isFull()) {
      const idle = this.idlest();
      this.refuse(idle ?? socket, this.count);
      if (idle === undefined) return;
      this.requests.delete(idle);
    }
    this.requests.set(socket, 0);
    socket.on("close", () => {
      this.requests.delete(socket);
      this.changed();
    });
    this.changed();
  }

  /** A client has begun to ask. From the request's end to the answer's it is the daemon that works. */
  asked(request: IncomingMessage, response: ServerResponse): void {
    const { socket, headers } = request;
    let isWork = false;
    const begin = () => {
      isWork = true;
      this.work(socket, 1);
    };
    // Where no body is announced there is nothing to wait for (RFC 9112, 6.3).
    if (headers["content-length"] === undefined && headers["transfer-encoding"] === undefined) begin();
    else request.on("end", begin);
    response.on("close", () => {
      if (isWork) this.work(socket, -1);
    });
  }

  /** A connection is no longer HTTP's. */
  upgraded(socket: Socket): void {
    this.work(socket, 1);
  }

  private work(socket: Socket, change: 1 | -1): void {
    const requests = this.requests.get(socket);
    if (requests === undefined) return;
    // What has been silent for the shortest time is the last.
    this.requests.delete(socket);
    this.requests.set(socket, requests + change);
  }

  private isFull(): boolean {
    if (this.count >= this.most) return true;
    return this.count >= FEW_CONNECTIONS && !this.hasRoom(SPARE_DESCRIPTORS);
  }

  private idlest(): Socket | undefined {
    let deaf: Socket | undefined;
    for (const [socket, requests] of this.requests) {
      if (requests === 0) return socket;
      if (socket.writableLength > 0) deaf ??= socket;
    }
    return deaf;
  }
}
