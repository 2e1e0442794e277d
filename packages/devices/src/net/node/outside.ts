/** The outside as Node reaches it: sockets, and the host's name servers. */
import { randomInt } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, createServer, isIPv6, type Socket as TcpSocket } from "node:net";
import { networkInterfaces } from "node:os";
import { canonicalIp } from "../addresses.js";
import { NetworkError } from "../errors.js";
import { read16, write16 } from "../frames/ip.js";
import type {
  Outside,
  OutsideCaller,
  OutsideListener,
  OutsideTcp,
  OutsideTcpEvents,
  OutsideUdp,
  OutsideUdpEvents,
} from "../nat/outside.js";

const DNS_PORT = 53;
/** Milliseconds for one attempt at one server. */
const QUERY_MS = 3000;
const ATTEMPTS = 2;
const TRUNCATED = 0x0200;
const MOST_ANSWER_BYTES = 65_535;

/** What may be other than usual. */
export interface NodeOutsideOptions {
  /** Name servers, as addresses or `address:port` and `[address]:port`; the host's unless given. */
  readonly nameServers?: readonly string[];
}

/** The host's network for the guests of a `UserNetwork`. */
export function nodeOutside(options: NodeOutsideOptions = {}): Outside {
  return {
    openUdp: (family, events) => openUdp(family, events),
    connectTcp: (address, port, events) => connectTcp(address, port, events),
    query: (message) => query(message, options.nameServers ?? getServers()),
    listenUdp: async (address, port, received) => {
      const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
      const bound = await bind(socket, address, port);
      socket.on("message", (data, from) => received(data, plain(from.address), from.port));
      return {
        port: bound,
        answer: (data, to, toPort) => socket.send(data, toPort, to, () => {}),
        close: () => socket.close(),
      };
    },
    listenTcp: (address, port, called) => listenTcp(address, port, called),
    hostRanges: () =>
      Object.values(networkInterfaces()).flatMap((addresses) =>
        (addresses ?? []).flatMap(({ cidr }) => (cidr === null ? [] : [cidr.replace(/%[^/]*/, "")])),
      ),
  };
}

/** An address without its zone. */
const plain = (address: string): string => canonicalIp(address.replace(/%.*/, "")) ?? address;

function openUdp(family: 4 | 6, events: OutsideUdpEvents): OutsideUdp {
  const socket = createSocket(family === 4 ? "udp4" : "udp6");
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    socket.close();
  };
  socket.on("message", (data, from) => {
    if (isOpen) events.data(data, plain(from.address), from.port);
  });
  socket.on("error", () => {
    if (!isOpen) return;
    close();
    events.failed();
  });
  return {
    // What the host can't send is lost, as datagrams may be.
    send: (data, address, port) => {
      if (isOpen) socket.send(data, port, address, () => {});
    },
    close,
  };
}

function connectTcp(address: string, port: number, events: OutsideTcpEvents): OutsideTcp {
  return wire(connect({ host: address, port, allowHalfOpen: true, noDelay: true }), "opening", events);
}

/** Connects what a socket tells with who wants to know it. */
function wire(socket: TcpSocket, begin: "opening" | "open", events: OutsideTcpEvents): OutsideTcp {
  let state: "opening" | "open" | "over" = begin;
  const over = (tell: () => void): void => {
    if (state === "over") return;
    state = "over";
    tell();
  };
  socket.on("connect", () => {
    if (state !== "opening") return;
    state = "open";
    events.opened();
  });
  socket.on("data", (data: Uint8Array) => {
    if (state === "open") events.data(data);
  });
  socket.on("end", () => {
    if (state === "open") events.ended();
  });
  socket.on("drain", () => {
    if (state === "open") events.drained();
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    const isRefused = error.code === "ECONNREFUSED" || error.code === "ECONNRESET";
    const wasOpening = state === "opening";
    over(() => (wasOpening ? events.failed(isRefused ? "refused" : "unreachable") : events.closed(true)));
  });
  socket.on("close", () => over(() => events.closed(false)));
  return {
    write: (data) => socket.write(data),
    end: () => socket.end(),
    reset: () => {
      state = "over";
      socket.resetAndDestroy();
    },
    setReading: (isReading) => (isReading ? socket.resume() : socket.pause()),
  };
}

function listenTcp(
  address: string,
  port: number,
  called: (caller: OutsideCaller) => void,
): Promise<OutsideListener> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
    // Whoever takes it hears of errors; till then nobody wants to.
    socket.on("error", () => {});
    let isTaken = false;
    called({
      address: plain(socket.remoteAddress ?? address),
      port: socket.remotePort ?? 0,
      take: (events) => {
        isTaken = true;
        return wire(socket, "open", { ...events, opened: () => {}, failed: () => {} });
      },
    });
    if (!isTaken) socket.resetAndDestroy();
  });
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => reject(cantListen(address, port, error)));
    server.listen({ host: address, port }, () => {
      server.removeAllListeners("error");
      server.on("error", () => {});
      // Connections that were taken go on.
      resolve({ port: (server.address() as { port: number }).port, close: () => server.close() });
    });
  });
}

function cantListen(address: string, port: number, error: NodeJS.ErrnoException): NetworkError {
  const isTaken = error.code === "EADDRINUSE";
  return new NetworkError(
    isTaken ? "E_NETWORK_IN_USE" : "E_NETWORK_HOST",
    isTaken
      ? `port ${port} of ${address} is taken: choose another one, or 0 for any`
      : `the host does not listen at port ${port} of ${address}: ${error.code ?? error.message}`,
    { cause: error },
  );
}

function bind(socket: Socket, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.close();
      reject(cantListen(address, port, error));
    });
    socket.bind(port, address, () => {
      socket.removeAllListeners("error");
      socket.on("error", () => {});
      resolve(socket.address().port);
    });
  });
}

/** Asks one server after the other, by datagrams and by TCP where the answer does not fit. */
async function query(message: Uint8Array, servers: readonly string[]): Promise<Uint8Array | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++)
    for (const server of servers) {
      const where = endpointOf(server);
      // A number that nobody can guess, on a port that nobody knows: answers can't be forged from afar.
      const asked = message.slice();
      write16(asked, 0, randomInt(0x10000));
      const answer = await queryUdp(asked, where);
      if (answer === undefined) continue;
      if ((read16(answer, 2) & TRUNCATED) === 0) return answer;
      return (await queryTcp(asked, where)) ?? answer;
    }
  return undefined;
}

function endpointOf(server: string): { address: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(server);
  if (match === null) return { address: server, port: DNS_PORT };
  return { address: match[1] ?? match[2]!, port: Number(match[3] ?? DNS_PORT) };
}

/** Whether an answer is one to this question. */
const answers = (answer: Uint8Array, asked: Uint8Array): boolean =>
  answer.length >= 12 && read16(answer, 0) === read16(asked, 0) && (answer[2]! & 0x80) !== 0;

function queryUdp(
  asked: Uint8Array,
  { address, port }: { address: string; port: number },
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIPv6(address) ? "udp6" : "udp4");
    const done = (answer?: Uint8Array): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on("error", () => {});
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => done(), QUERY_MS);
    socket.once("error", () => done());
    // Only what comes from there is received.
    socket.connect(port, address, () => {
      socket.on("message", (answer) => {
        if (answers(answer, asked)) done(answer);
      });
      socket.send(asked, (error) => {
        if (error !== null) done();
      });
    });
  });
}

function queryTcp(
  asked: Uint8Array,
  { address, port }: { address: string; port: number },
): Promise<Uint8Array | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    let received = new Uint8Array();
    const done = (answer?: Uint8Array): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(QUERY_MS, () => done());
    socket.on("error", () => done());
    socket.on("close", () => done());
    socket.on("connect", () => {
      const framed = new Uint8Array(asked.length + 2);
      write16(framed, 0, asked.length);
      framed.set(asked, 2);
      socket.write(framed);
    });
    socket.on("data", (data: Uint8Array) => {
      received = Uint8Array.of(...received, ...data);
      if (received.length > MOST_ANSWER_BYTES + 2) return done();
      if (received.length < 2 || received.length < 2 + read16(received, 0)) return;
      const answer = received.slice(2, 2 + read16(received, 0));
      done(answers(answer, asked) ? answer : undefined);
    });
  });
}
