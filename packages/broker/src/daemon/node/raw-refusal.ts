/** Answers where HTTP has let go of a connection, or never had it. */
import type { Socket } from "node:net";

/** Milliseconds in which a client must take a refusal. */
const REFUSAL_MS = 5000;

/** Answers on a socket that HTTP has let go, and ends it. @param text JSON */
export function refuseRaw(socket: Socket, status: number, reason: string, text: string): void {
  socket.on("error", () => socket.destroy());
  // After an answer, another one would be taken for a part of it.
  if (!socket.writable || socket.bytesWritten > 0) {
    socket.destroySoon();
    return;
  }
  socket.setTimeout(REFUSAL_MS, () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
    () => socket.destroySoon(),
  );
}
