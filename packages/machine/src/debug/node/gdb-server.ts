/** Serves the GDB remote protocol on a TCP port of the loopback interface, one debugger at a time. */
import { createServer, type Server, type Socket } from "node:net";
import { type GdbEnd, GdbSession } from "../gdb-protocol.js";
import type { DebugTarget } from "../target.js";

/** Bytes that are taken from a debugger between two looks at whether its replies pile up: few packets fit in. */
const PIECE = 32;

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
    let isFull = false;
    const session = new GdbSession({
      target,
      send(bytes) {
        if (socket.writable && !socket.write(bytes)) isFull = true;
      },
      ended: (how) => {
        events.ended(how);
        if (how === "killed") socket.end();
      },
    });
    // Who does not read its replies is not heard until it does: short requests have long replies.
    let unheard = new Uint8Array(0);
    const hear = () => {
      for (; unheard.length > 0 && !isFull; unheard = unheard.subarray(PIECE))
        session.receive(unheard.subarray(0, PIECE));
      if (isFull) socket.pause();
      else socket.resume();
    };
    socket.on("drain", () => {
      isFull = false;
      hear();
    });
    socket.on("data", (data) => {
      unheard = unheard.length === 0 ? data : Buffer.concat([unheard, data]);
      hear();
    });
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
