/**
 * Captures of networks over WebSocket. What a client does not read stays with the capture, which bounds it and drops what comes
 * then: a message's bytes are given back when the client's connection has taken them.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { CaptureHandle, CaptureListener } from "../../net/capture.js";
import { RequestError } from "./routes.js";
import { closeReason, saysEnd } from "./socket-words.js";

/** Captures at a time: each may keep 4 MiB of what its client does not read. */
export const MOST_CAPTURES = 16;
/** Bytes of one message of a client, its parts, and the pieces in which it may arrive. */
const MESSAGES = { maxPayload: 1024, maxFragments: 8, maxBufferedChunks: 64 };
/** Bytes that wait for a client whose pings are answered. */
const MOST_WAITING = 2 ** 20;
/** Close codes: the purpose is fulfilled, the policy is violated (RFC 6455, 7.4.1), broken off (7.4.2: private). */
const [CLOSE_NORMAL, CLOSE_POLICY, CLOSE_BROKEN] = [1000, 1008, 4001];
const END = '{"end":true}';

/** The captures that clients have open. */
export class CaptureSockets {
  private readonly server = new WebSocketServer({ noServer: true, autoPong: false, ...MESSAGES });

  /**
   * Serves a capture.
   * @param begin begins it
   * @throws RequestError `E_BUSY` if there are too many; what `begin` throws
   */
  serve(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    begin: (listener: CaptureListener) => CaptureHandle,
  ): void {
    if (this.server.clients.size >= MOST_CAPTURES)
      throw new RequestError("E_BUSY", `${MOST_CAPTURES} captures are open: end one`);
    let client: WebSocket | undefined;
    // Nothing comes before this turn of the host's event loop is over, and the client is there.
    const capture = begin({
      blocks: (bytes, counts) => {
        client?.send(bytes, () => capture.took(bytes.length));
        client?.send(JSON.stringify(counts));
      },
      ended: (ended) => {
        client?.send(JSON.stringify({ ended }));
        client?.close(CLOSE_NORMAL);
      },
      failed: (why) => client?.close(CLOSE_BROKEN, closeReason(why)),
    });
    this.server.handleUpgrade(request, socket, head, (opened) => {
      client = opened;
      hear(opened, capture);
    });
    // The upgrade was refused.
    if (client === undefined) capture.close();
  }

  /** Cuts all off. */
  close(): void {
    for (const client of this.server.clients) client.terminate();
  }
}

function hear(client: WebSocket, capture: CaptureHandle): void {
  client.on("error", () => client.terminate());
  client.on("ping", (data) => {
    if (client.bufferedAmount < MOST_WAITING) client.pong(data);
  });
  client.on("message", (data, isBinary) => {
    if (!isBinary && saysEnd(data.toString())) capture.end();
    else client.close(CLOSE_POLICY, `a message is ${END}`);
  });
  client.on("close", () => capture.close());
}
