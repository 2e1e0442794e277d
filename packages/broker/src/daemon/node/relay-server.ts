/**
 * The relay's door to pages: a WebSocket at `/wisp/` for who has the token, on an address of the host's. What is said on it is
 * the relay's matter; here is who may come in, how many, and that those who have vanished go.
 *
 * Unlike the daemon's own socket it can be reached by others than its owner: every page that a browser has open may try. So
 * there is a token that nobody can guess, and a browser's word (`Origin`) for whose page it is: pages of other sites are
 * refused even with the token, unless they were named. Who is no browser says no origin, and needs the token alone.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { hasDescriptors } from "../../lifecycle/node/file-descriptors.js";
import { Connections } from "./connections.js";
import { DaemonError } from "./daemon-error.js";
import { refuseRaw } from "./raw-refusal.js";
import { closeReason } from "./socket-words.js";

/** Path of the relay: others' clients want a slash at its end, and may give the token before it. */
const PATH = /^\/wisp\/(?:([^/]+)\/)?$/;
/** Clients at a time, and connections, those among them that have not asked yet. */
const [MOST_CLIENTS, MOST_CONNECTIONS] = [64, 256];
/** Bytes of one message of a client, its parts, and the pieces in which it may arrive. */
const MESSAGES = { maxPayload: 2 ** 20, maxFragments: 256, maxBufferedChunks: 4096 };
/** Bytes that wait for a client from which on it is told when they have gone, and to which they must fall. */
const [FULL, ROOM] = [2 ** 19, 2 ** 17];
/** Descriptors that clients' streams leave free, and streams after which there is another look at that. */
const [SPARE_DESCRIPTORS, LOOK_AFTER] = [64, 16];
/** Close codes (RFC 6455, section 7.4.1): the policy is violated, the server goes. */
const [CLOSE_POLICY, CLOSE_AWAY] = [1008, 1001];
/** Milliseconds for a request's head, and between two looks for who has vanished. */
const [HEAD_MS, PING_MS] = [10_000, 30_000];
/** A host that is this one to a browser, whose pages only who is on it can serve. */
const LOCAL_PAGE = /^https?:\/\/(localhost|[a-z0-9.-]+\.localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/;

/** Leads to a client: whole messages in their order. */
export interface RelayPort {
  send(message: Uint8Array): void;
  /** Bytes that were given to `send` and have not gone yet. */
  readonly waiting: number;
  /** Ends the connection, and says why. */
  close(why: string): void;
}

/** What serves a client. */
export interface RelayEnd {
  /** A message came, whose bytes are the callee's. */
  receive(message: Uint8Array): void;
  /** Of what waited, 512 KiB or more, little is left. */
  drained(): void;
  /** The client is gone. */
  close(): void;
}

/** Who comes in. */
export interface RelayClient {
  /** Where it comes from. */
  readonly address: string;
  /** Whether this process can have more files. */
  hasRoom(): boolean;
}

/** What a server is made from. */
export interface RelayServerOptions {
  readonly address: string;
  /** 0 for any. */
  readonly port: number;
  readonly token: string;
  /** Origins of pages that may come in, beside those of this computer. */
  readonly origins: readonly string[];
  /** Serves a client. */
  serve(port: RelayPort, client: RelayClient): RelayEnd;
  /** Clients have come or gone. */
  changed?(clients: number): void;
  /** Milliseconds between two looks for clients that have vanished. */
  readonly pingMs?: number;
}

/** The server. */
export class RelayServer {
  private readonly http: Server;
  private readonly sockets = new WebSocketServer({ noServer: true, autoPong: false, ...MESSAGES });
  private readonly connections = new Connections(
    (socket, open) =>
      refuse(socket, 503, "E_BUSY", `the relay has too many connections (${open}): try again`),
    () => {},
    MOST_CONNECTIONS,
  );
  private readonly digest: Buffer;
  /** Clients that were heard since the last look. */
  private readonly alive = new WeakSet<WebSocket>();
  private readonly pinging: NodeJS.Timeout;
  /** What the last look for descriptors has found, and how often that was asked since. */
  private room = { isThere: false, asked: 0 };

  private constructor(private readonly options: RelayServerOptions) {
    this.digest = digestOf(options.token);
    this.http = createServer(
      { headersTimeout: HEAD_MS, requestTimeout: HEAD_MS, connectionsCheckingInterval: HEAD_MS / 2 },
      (request, response) => this.answer(request, response),
    );
    this.http.on("connection", (socket) => this.connections.add(socket));
    this.http.on("upgrade", (request, socket, head) => this.upgrade(request, socket as Socket, head));
    this.http.on("clientError", (_error, socket) =>
      refuse(socket as Socket, 400, "E_REQUEST", "that is no request of HTTP"),
    );
    this.http.on("connect", (_request, socket) =>
      refuse(socket as Socket, 405, "E_REQUEST", "this is no proxy: it is a relay for pages, at /wisp/"),
    );
    this.pinging = setInterval(() => this.look(), options.pingMs ?? PING_MS);
  }

  /** Starts one. @throws DaemonError `E_SOCKET` (the promise rejects) if the host does not listen there */
  static async start(options: RelayServerOptions): Promise<RelayServer> {
    const server = new RelayServer(options);
    const { address, port } = options;
    try {
      await new Promise<void>((resolve, reject) => {
        server.http.once("error", reject);
        server.http.listen({ host: address, port }, resolve);
      });
    } catch (error) {
      clearInterval(server.pinging);
      const { code, message } = error as NodeJS.ErrnoException;
      const why =
        code === "EADDRINUSE"
          ? `port ${port} of ${address} is taken: choose another one, or 0 for any`
          : `can't listen at port ${port} of ${address}: ${code ?? message}`;
      throw new DaemonError("E_SOCKET", why);
    }
    server.http.removeAllListeners("error").on("error", () => {});
    return server;
  }

  /** The port that it has. */
  get port(): number {
    return (this.http.address() as AddressInfo).port;
  }

  /** Clients that are connected. */
  get clients(): number {
    return this.sockets.clients.size;
  }

  /** Ends all of it. */
  async close(): Promise<void> {
    clearInterval(this.pinging);
    for (const client of this.sockets.clients) {
      client.close(CLOSE_AWAY, "the daemon ends");
      client.terminate();
    }
    await new Promise<void>((resolve) => {
      this.http.close(() => resolve());
      this.http.closeAllConnections();
    });
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    response.on("error", () => {});
    request.on("error", () => {});
    this.connections.asked(request, response);
    request.resume();
    const isPath = PATH.test(pathOf(request).pathname);
    const text = isPath
      ? "This is a relay for web pages with virtual machines in them: give its whole address, which begins with ws://, to such a page.\n"
      : "There is nothing here but a relay for web pages, at /wisp/.\n";
    const fields = { "content-type": "text/plain", "content-length": Buffer.byteLength(text) };
    response.writeHead(isPath ? 426 : 404, isPath ? { ...fields, upgrade: "websocket" } : fields);
    response.end(request.method === "HEAD" ? undefined : text);
  }

  private upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    // Node has taken its own listener away.
    socket.on("error", () => socket.destroy());
    this.connections.upgraded(socket);
    const { pathname, searchParams } = pathOf(request);
    const path = PATH.exec(pathname);
    if (path === null) return refuse(socket, 404, "E_REQUEST", "the relay is at /wisp/");
    const token = searchParams.get("token") ?? path[1] ?? "";
    if (!timingSafeEqual(digestOf(token), this.digest))
      return refuse(
        socket,
        401,
        "E_TOKEN",
        `the address has ${token === "" ? "no token" : "a wrong token"}: give the page the whole address that the daemon printed`,
      );
    const { origin } = request.headers;
    if (origin !== undefined && !this.mayEnter(origin))
      return refuse(
        socket,
        403,
        "E_ORIGIN",
        `pages of ${origin} may not use this relay: start the daemon with --web-origin ${origin} if they shall`,
      );
    if (this.clients >= MOST_CLIENTS)
      return refuse(
        socket,
        503,
        "E_BUSY",
        `${MOST_CLIENTS} clients use this relay: close a page, or try again`,
      );
    this.sockets.handleUpgrade(request, socket, head, (client) =>
      this.serve(client, socket.remoteAddress ?? "unknown"),
    );
  }

  private mayEnter(origin: string): boolean {
    return this.options.origins.includes(origin) || LOCAL_PAGE.test(origin);
  }

  private serve(client: WebSocket, address: string): void {
    let isFull = false;
    const gone = (): void => {
      if (!isFull || client.bufferedAmount > ROOM) return;
      isFull = false;
      end.drained();
    };
    const end = this.options.serve(
      {
        send: (message) => {
          client.send(message, gone);
          if (client.bufferedAmount >= FULL) isFull = true;
        },
        get waiting() {
          return client.bufferedAmount;
        },
        close: (why) => client.close(CLOSE_POLICY, closeReason(why)),
      },
      { address, hasRoom: () => this.hasRoom() },
    );
    const heard = (): void => void this.alive.add(client);
    heard();
    client.on("error", () => client.terminate());
    client.on("pong", heard);
    client.on("ping", (data) => {
      heard();
      if (client.bufferedAmount < FULL) client.pong(data);
    });
    client.on("message", (data, isBinary) => {
      heard();
      if (isBinary) end.receive(new Uint8Array(data as Buffer));
      else client.close(CLOSE_POLICY, "a packet is a binary message");
    });
    client.on("close", () => {
      end.close();
      this.options.changed?.(this.clients);
    });
    this.options.changed?.(this.clients);
  }

  private hasRoom(): boolean {
    const { room } = this;
    if (!room.isThere || ++room.asked >= LOOK_AFTER)
      this.room = { isThere: hasDescriptors(SPARE_DESCRIPTORS), asked: 0 };
    return this.room.isThere;
  }

  /** Ends who was not heard since the last look, and asks the others. */
  private look(): void {
    for (const client of this.sockets.clients) {
      if (!this.alive.delete(client)) client.terminate();
      else if (client.bufferedAmount < FULL) client.ping();
    }
  }
}

const digestOf = (token: string): Buffer => createHash("sha256").update(token).digest();

/** Where a request goes; an address that is none goes nowhere. */
function pathOf({ url = "/" }: IncomingMessage): URL {
  const base = "http://relay";
  return URL.canParse(url, base) ? new URL(url, base) : new URL("/?", base);
}

function refuse(socket: Socket, status: number, code: string, message: string): void {
  const reasons: Readonly<Record<number, string>> = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
  };
  refuseRaw(socket, status, reasons[status] ?? "Refused", JSON.stringify({ code, message }));
}
