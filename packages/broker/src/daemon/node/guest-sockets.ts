/**
 * Streams to programs in guests over WebSocket. A client costs a fixed amount, whatever it and the guest do: each holds the
 * other where it does not read.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { GuestStream } from "../../lifecycle/guest-port.js";
import type { ManagedVm } from "../../lifecycle/node/managed-vm.js";
import { RequestError } from "./routes.js";
import { closeReason, saysEnd } from "./socket-words.js";

/** Streams at a time. */
const MOST_STREAMS = 256;
/** Bytes of one message, its parts, and the pieces in which it may arrive. */
const MESSAGES = { maxPayload: 2 ** 18, maxFragments: 256, maxBufferedChunks: 4096 };
/** Bytes that wait for a client before the guest is held, and to which they must fall before it goes on. */
const [MOST_WAITING, RESUME_AT] = [2 ** 18, 2 ** 16];
/** Close codes: the purpose is fulfilled, the policy is violated (RFC 6455, 7.4.1); not opened, broken off (7.4.2: private). */
const [CLOSE_NORMAL, CLOSE_POLICY, CLOSE_FAILED, CLOSE_BROKEN] = [1000, 1008, 4000, 4001];
/** The highest port of virtio-vsock. */
const HIGHEST_PORT = 0xffff_fffe;

/** The streams that clients have open. */
export class GuestSockets {
  private readonly server = new WebSocketServer({ noServer: true, autoPong: false, ...MESSAGES });

  /**
   * Serves a stream.
   * @param port of the guest, as the address has it
   * @throws RequestError `E_BUSY` if there are too many, `E_REQUEST` for no port; LifecycleError `E_VM_STATE`
   */
  serve(request: IncomingMessage, socket: Socket, head: Buffer, vm: ManagedVm, port: string): void {
    if (!/^\d{1,10}$/.test(port) || Number(port) > HIGHEST_PORT)
      throw new RequestError("E_REQUEST", `a port of a guest is a number from 0 to ${HIGHEST_PORT}`);
    if (this.server.clients.size >= MOST_STREAMS)
      throw new RequestError("E_BUSY", `${MOST_STREAMS} streams to guests are open: try again`);
    let client: WebSocket | undefined;
    // Nothing comes before this turn of the host's event loop is over, and the client is there.
    const stream = vm.connect(Number(port), {
      opened: () => client?.send('{"opened":true}'),
      failed: (why) => client?.close(CLOSE_FAILED, closeReason(why)),
      data: (data) => {
        if (client === undefined) return;
        const open = client;
        open.send(data, () => {
          if (open.bufferedAmount <= RESUME_AT) stream.setReading(true);
        });
        if (open.bufferedAmount > MOST_WAITING) stream.setReading(false);
      },
      ended: () => client?.send('{"ended":true}'),
      drained: () => client?.resume(),
      closed: (isBroken) => client?.close(isBroken ? CLOSE_BROKEN : CLOSE_NORMAL),
    });
    this.server.handleUpgrade(request, socket, head, (opened) => {
      client = opened;
      hear(opened, stream);
    });
    // The upgrade was refused.
    if (client === undefined) stream.reset();
  }

  /** Cuts all off. */
  close(): void {
    for (const client of this.server.clients) client.terminate();
  }
}

/** Passes on what a client sends, and reads no further while the guest does not take it. */
function hear(client: WebSocket, stream: GuestStream): void {
  client.on("error", () => client.terminate());
  client.on("ping", (data) => {
    if (client.bufferedAmount < MOST_WAITING) client.pong(data);
  });
  client.on("message", (data, isBinary) => {
    if (isBinary) {
      if (!stream.write(new Uint8Array(data as Buffer))) client.pause();
    } else if (saysEnd(data.toString())) stream.end();
    else client.close(CLOSE_POLICY, 'a text message is {"end": true}');
  });
  client.on("close", () => stream.reset());
}
