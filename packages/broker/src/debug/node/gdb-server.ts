/** Serves the GDB remote protocol on a TCP port of the loopback interface, one debugger at a time. */
import { createServer, type Server, type Socket } from "node:net";
import { type GdbEnd, GdbSession } from "../gdb-protocol.js";
import type { DebugTarget } from "../target.js";

/** A listening stub. */
export interface GdbServer {
  /** The port it listens on. */
  readonly port: number;
  close(): void;
}

/** What a listening stub tells its owner. */
export interface GdbServerEvents {
  /** A debugger has connected; the machine must halt. */
  connected(): void;
  /** The debugger has left or killed the program. */
  ended(how: GdbEnd): void;
}

/**
 * Listens for a debugger.
 * @param port TCP port; 0 for any free one
 * @throws the listener's error, for instance when the port is taken
 */
export function serveGdb(target: DebugTarget, port: number, events: GdbServerEvents): Promise<GdbServer> {
  let current: Socket | undefined;
  const server: Server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    if (current !== undefined) {
      socket.destroy();
      return;
    }
    current = socket;
    socket.setNoDelay(true);
    events.connected();
    const session = new GdbSession({
      target,
      send(bytes) {
        // Who does not read its replies is not heard until it does.
        if (socket.writable && !socket.write(bytes)) socket.pause();
      },
      ended: (how) => {
        events.ended(how);
        if (how === "killed") socket.end();
      },
    });
    socket.on("drain", () => socket.resume());
    socket.on("data", (data) => session.receive(data));
    socket.on("close", () => {
      current = undefined;
      events.ended("detached");
    });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      // A connection that fails as it comes is none.
      server.on("error", () => {});
      const address = server.address();
      resolve({
        port: typeof address === "object" && address !== null ? address.port : port,
        close: () => {
          current?.destroy();
          server.close();
        },
      });
    });
  });
}
