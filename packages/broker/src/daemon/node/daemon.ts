/**
 * The daemon: an HTTP server on a Unix socket that only its owner may use, around a fleet.
 *
 * Access is a matter of the file system: the socket lies in a folder of mode 0700 and has mode 0600. So there is no
 * other authentication, and the server never listens on a network.
 */
import { chmodSync, existsSync, mkdirSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { connect, type Socket } from "node:net";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { WebSocketServer } from "ws";
import { type Operation, type OperationId, operations } from "../../api/operations.js";
import { HostScheduler } from "../../cpu/node/host-scheduler.js";
import type { HostSize } from "../../hyperfile/read.js";
import { HyperfileError, problemLine } from "../../hyperfile/types.js";
import { Fleet } from "../../lifecycle/node/fleet.js";
import { HostMemoryBroker, type HostMemoryOptions } from "../../memory/host-memory-broker.js";
import { renderMetrics } from "../metrics.js";
import { type ApiRequest, allVms, type DaemonParts, History, handlers, poolViews } from "./handlers.js";

/** What a daemon is made from. */
export interface DaemonOptions {
  /** Path of the Unix socket. */
  readonly socket: string;
  /** Folder for logs, snapshots and projects. */
  readonly folder: string;
  /** Module that calls `serveGuests`. */
  readonly threadProgram: URL;
  readonly version: string;
  readonly cores: number;
  /** Machine memory for all guests together. */
  readonly memory: HostMemoryOptions;
  /** Fields of VMs for which the program's machines have no device. */
  readonly lacks?: HostSize["lacks"];
  /** Longest turn in milliseconds of CPU time. */
  readonly quantumMs?: number;
  /** Milliseconds between two samples of the history. */
  readonly sampleMs?: number;
}

/** Another daemon answers at the socket, or the socket can't be made. */
export class DaemonError extends Error {
  override readonly name = "DaemonError";

  constructor(
    readonly code: "E_DAEMON_RUNNING" | "E_SOCKET",
    message: string,
  ) {
    super(message);
  }
}

/** Most bytes of a request's body. */
const MOST_BODY = 4 * 2 ** 20;
/** Most bytes that a Unix socket's path has on Linux, with its end. */
const MOST_SOCKET_PATH = 107;
const DEFAULT_TAIL = 65_536;
const DEFAULT_SAMPLE_MS = 1000;

/** HTTP status for an error's code; 500 for the others. */
const statusOf: Readonly<Record<string, number>> = {
  E_HYPERFILE: 422,
  E_SETTING: 400,
  E_REQUEST: 400,
  E_ALLOTMENT: 400,
  E_VM_UNKNOWN: 404,
  E_SNAPSHOT_UNKNOWN: 404,
  E_POOL_UNKNOWN: 404,
  E_NOT_FOUND: 404,
  E_ADMISSION: 409,
  E_NAME_TAKEN: 409,
  E_VM_STATE: 409,
  E_POOL_BUSY: 409,
  E_EXEC: 409,
  E_PROVISION: 409,
  E_EXEC_TIMEOUT: 504,
};

/** A daemon. */
export class Daemon {
  readonly fleet: Fleet;
  private readonly server: Server;
  private readonly sockets = new WebSocketServer({ noServer: true, maxPayload: 2 ** 20 });
  private readonly parts: DaemonParts;
  private readonly history: History;
  private noteClosed: () => void = () => {};
  /** Resolves when the daemon has ended. */
  readonly closed = new Promise<void>((resolve) => {
    this.noteClosed = resolve;
  });
  private closing = false;

  private constructor(
    private readonly options: DaemonOptions,
    private readonly scheduler: HostScheduler,
  ) {
    this.fleet = new Fleet({
      scheduler,
      memory: new HostMemoryBroker(options.memory),
      size: {
        cores: options.cores,
        memoryBytes: options.memory.memoryBytes,
        ...(options.lacks === undefined ? {} : { lacks: options.lacks }),
      },
      folder: options.folder,
      threadProgram: options.threadProgram,
    });
    this.history = new History(this.fleet);
    this.parts = {
      fleet: this.fleet,
      history: this.history,
      info: () => ({
        version: options.version,
        pid: process.pid,
        cores: options.cores,
        memory: this.fleet.memory.view(),
        folder: options.folder,
      }),
      shutdown: () => void this.close(),
    };
    this.server = createServer((request, response) => void this.answer(request, response));
    this.server.on("upgrade", (request, socket, head) => this.upgrade(request, socket as Socket, head));
  }

  /**
   * Starts a daemon.
   * @throws DaemonError `E_DAEMON_RUNNING` if one answers at the socket, `E_SOCKET` if it can't be made
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    await freeSocket(options.socket);
    const { cores, quantumMs } = options;
    const scheduler = await HostScheduler.start({ cores, ...(quantumMs === undefined ? {} : { quantumMs }) });
    const daemon = new Daemon(options, scheduler);
    await daemon.fleet.recall();
    try {
      await daemon.listen();
    } catch (error) {
      await scheduler.close();
      throw new DaemonError("E_SOCKET", `can't listen at ${options.socket}: ${(error as Error).message}`);
    }
    daemon.history.start(options.sampleMs ?? DEFAULT_SAMPLE_MS);
    return daemon;
  }

  /** Stops all VMs by force and ends. */
  async close(): Promise<void> {
    if (this.closing) return this.closed;
    this.closing = true;
    this.history.stop();
    await this.fleet.close();
    for (const client of this.sockets.clients) client.terminate();
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      // Streams of events would keep it open; the answer that is on its way is given its time.
      setTimeout(() => this.server.closeAllConnections(), 50);
    });
    await this.scheduler.close();
    this.noteClosed();
  }

  private async listen(): Promise<void> {
    const { socket } = this.options;
    mkdirSync(dirname(socket), { recursive: true, mode: 0o700 });
    const mask = process.umask(0o177);
    try {
      await new Promise<void>((resolve, reject) => {
        this.server.once("error", reject);
        this.server.listen(socket, () => resolve());
      });
    } finally {
      process.umask(mask);
    }
    chmodSync(socket, 0o600);
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const { operation, ...place } = route(request);
      if (operation.id === "events") return this.streamEvents(request, response, place.query);
      const body = operation.body === undefined ? {} : await readBody(request);
      const apiRequest: ApiRequest = { ...place, body };
      if (operation.id === "metrics")
        return send(response, 200, await this.metrics(), "text/plain; version=0.0.4");
      if (operation.id === "logsVm") {
        const vm = this.fleet.vm(place.path.vm!);
        const bytes = Number(place.query.get("bytes") ?? DEFAULT_TAIL);
        const tail = await vm.log.tail(bytes);
        response.writeHead(200, { "content-type": "application/octet-stream" });
        await pipeline(Readable.from(tail.parts()), response);
        return;
      }
      if (operation.id === "consoleVm")
        throw requestError("E_REQUEST", "a console is a WebSocket: ask for an upgrade of the connection");
      const handler = handlers[operation.id as keyof typeof handlers];
      send(response, 200, JSON.stringify(await handler(apiRequest, this.parts)), "application/json");
    } catch (error) {
      const { status, text } = errorAnswer(error);
      if (!response.headersSent) send(response, status, text, "application/json");
    }
  }

  private async metrics(): Promise<string> {
    const overhead = this.scheduler.overhead();
    return renderMetrics({
      vms: await allVms(this.fleet),
      pools: poolViews(this.fleet),
      memory: this.fleet.memory.view(),
      schedulerSeconds: overhead === undefined ? undefined : overhead / 1e9,
      version: this.options.version,
    });
  }

  private streamEvents(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void {
    const { events } = this.fleet;
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    // A client that reconnects says which event it had last, as the standard has it.
    const since = Number(request.headers["last-event-id"] ?? query.get("since") ?? Number.MAX_SAFE_INTEGER);
    const write = (event: { readonly id: number }) =>
      response.write(`id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`);
    response.write(": hyperfile events\n\n");
    for (const event of events.since(since)) write(event);
    response.on("close", events.listen(write));
  }

  private upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    try {
      const { operation, path, query } = route(request);
      if (operation.id !== "consoleVm") throw requestError("E_REQUEST", "only consoles are WebSockets");
      const vm = this.fleet.vm(path.vm!);
      this.sockets.handleUpgrade(request, socket, head, (client) => {
        const tail = Number(query.get("tail") ?? 0);
        // Before what was printed before, nothing that is printed now.
        let waiting: Uint8Array[] | undefined = [];
        const unwatch = vm.watch((bytes) =>
          waiting === undefined ? client.send(bytes) : waiting.push(bytes),
        );
        void vm.log
          .tail(tail)
          .then(async (end) => {
            for await (const part of end.parts()) client.send(part);
          })
          .catch(() => {})
          .then(() => {
            for (const bytes of waiting!) client.send(bytes);
            waiting = undefined;
          });
        const unlisten = this.fleet.events.listen(({ kind, name }) => {
          if (name === vm.name && (kind === "vm.off" || kind === "vm.crashed")) client.close(1000, kind);
        });
        client.on("message", (data, isBinary) => {
          try {
            hearClient(vm, data as Buffer, isBinary);
          } catch (error) {
            client.close(1008, (error as Error).message.slice(0, 120));
          }
        });
        client.on("error", () => client.terminate());
        client.on("close", () => {
          unwatch();
          unlisten();
        });
      });
    } catch (error) {
      const { status, text } = errorAnswer(error);
      socket.end(
        `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
      );
    }
  }
}

/** A message of a console's client: bytes to type, or the size of its terminal. */
function hearClient(
  vm: { type(bytes: Uint8Array): void; resize(columns: number, rows: number): void },
  data: Buffer,
  isBinary: boolean,
): void {
  if (isBinary) {
    vm.type(new Uint8Array(data));
    return;
  }
  const { columns, rows } = JSON.parse(data.toString()) as Record<string, unknown>;
  const isSize = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) > 0 && Number(value) <= 1000;
  if (!isSize(columns) || !isSize(rows))
    throw requestError("E_REQUEST", "columns and rows are whole numbers from 1 to 1000");
  vm.resize(columns, rows);
}

const patterns = (operations as readonly Operation[]).map((operation) => ({
  operation: operation as Operation & { id: OperationId },
  pattern: new RegExp(`^${operation.path.replaceAll(".", "\\.").replace(/\{(\w+)\}/g, "(?<$1>[^/]+)")}$`),
}));

/** The operation that a request asks for. */
function route(request: IncomingMessage): {
  readonly operation: Operation & { id: OperationId };
  readonly path: Record<string, string>;
  readonly query: URLSearchParams;
} {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
  const method = (request.method ?? "GET").toLowerCase();
  const here = patterns.filter(({ pattern }) => pattern.test(pathname));
  const found = here.find(({ operation }) => operation.method === method);
  if (found === undefined) {
    const methods = here.map(({ operation }) => operation.method.toUpperCase()).join(", ");
    throw requestError(
      "E_NOT_FOUND",
      here.length === 0
        ? `there is nothing at ${pathname}: see /v1/openapi.json`
        : `${pathname} takes ${methods}, not ${method.toUpperCase()}`,
    );
  }
  const groups = found.pattern.exec(pathname)?.groups ?? {};
  const path = Object.fromEntries(
    Object.entries(groups).map(([name, value]) => [name, decodeURIComponent(value)]),
  );
  return { operation: found.operation, path, query: searchParams };
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MOST_BODY) throw requestError("E_REQUEST", `the request has more than ${MOST_BODY} bytes`);
    parts.push(part);
  }
  if (bytes === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(parts).toString("utf8"));
  } catch (error) {
    throw requestError("E_REQUEST", `the request is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw requestError("E_REQUEST", "the request is not a JSON object");
  return value as Record<string, unknown>;
}

const requestError = (code: string, message: string): Error => Object.assign(new Error(message), { code });

function errorAnswer(error: unknown): { status: number; text: string } {
  const { code = "E_INTERNAL", message = String(error) } = error as { code?: string; message?: string };
  const problems = error instanceof HyperfileError ? error.problems.map(problemLine) : undefined;
  return {
    status: statusOf[code] ?? 500,
    text: JSON.stringify({ code, message, ...(problems === undefined ? {} : { problems }) }),
  };
}

function send(response: ServerResponse, status: number, body: string | Buffer, type: string): void {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(body);
}

/** Makes sure that the socket's path is free: of a daemon that runs, and of the file that a killed one left. */
async function freeSocket(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MOST_SOCKET_PATH)
    throw new DaemonError(
      "E_SOCKET",
      `the socket's path ${path} is too long: at most ${MOST_SOCKET_PATH} bytes`,
    );
  if (!existsSync(path)) return;
  const answers = await new Promise<boolean>((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
  if (answers) throw new DaemonError("E_DAEMON_RUNNING", `a daemon answers at ${path} already`);
  unlinkSync(path);
}
