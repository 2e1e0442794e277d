/**
 * The daemon: an HTTP server on a Unix socket that only its owner may use, around a fleet.
 *
 * Access is a matter of the file system: the socket lies in a folder of mode 0700 and has mode 0600. So there is no
 * other authentication, and the server never listens on a network.
 *
 * Clients may be slow, broken or gone: each has a limited time to ask, a fixed amount of memory, and every socket has a
 * listener for its errors.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { HostScheduler } from "../../cpu/node/host-scheduler.js";
import { fileErrorReason } from "../../files/file-reason.js";
import type { HostSize } from "../../hyperfile/read.js";
import type { RunByAgent } from "../../lifecycle/guest-command.js";
import type { TakeClaim } from "../../lifecycle/host-claim.js";
import { Fleet } from "../../lifecycle/node/fleet.js";
import { HostMemoryBroker, type HostMemoryOptions } from "../../memory/host-memory-broker.js";
import type { CaptureHandle, CaptureListener, CaptureRequest, OpenCapture } from "../../net/capture.js";
import type { HostNets } from "../../net/host-nets.js";
import { History } from "../history.js";
import { renderMetrics } from "../metrics.js";
import { errorAnswer, jsonList, STALL_MS, send, sendParts, withBody } from "./answers.js";
import { captureRequest } from "./capture-request.js";
import { CaptureSockets } from "./capture-sockets.js";
import { Connections } from "./connections.js";
import { ConsoleSockets } from "./console-sockets.js";
import { DaemonError } from "./daemon-error.js";
import { streamEvents } from "./event-stream.js";
import { GuestSockets } from "./guest-sockets.js";
import { allVms, type DaemonParts, handlers, poolViews } from "./handlers.js";
import { IdleExit } from "./idle-exit.js";
import { Presence } from "./presence.js";
import { refuseRaw } from "./raw-refusal.js";
import { countIn, type Place, RequestError, route } from "./routes.js";
import { Sampler } from "./sampler.js";

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
  /** Takes what VMs need of the host beside cores and memory. */
  readonly claim?: TakeClaim;
  /** Runs commands in guests that have an agent; on their consoles unless given. */
  readonly runByAgent?: RunByAgent;
  /** The bandwidth of the networks that claims lead to. */
  readonly nets?: HostNets;
  /** Captures these networks; they can't be unless given. */
  readonly capture?: OpenCapture;
  /** The guests that its machines can be. */
  readonly guests: HostSize["guests"];
  /** Longest turn in milliseconds of CPU time. */
  readonly quantumMs?: number;
  /** Milliseconds between two samples of the history. */
  readonly sampleMs?: number;
  /** Milliseconds without any VM and client after which the daemon ends by itself; never unless given. */
  readonly idleExitMs?: number;
  /** Whether somebody else needs the daemon, which does not end by itself then; nobody unless given. */
  readonly isUsed?: () => boolean;
  /** Is told, once, why the daemon ends, when that begins. */
  readonly ending?: (reason: string) => void;
  /** What clients have of time; tests have less. */
  readonly times?: Partial<RequestTimes>;
}

/** What clients have for a request, an answer and their input, in milliseconds. */
export interface RequestTimes {
  /** For its head. */
  readonly headersTimeout: number;
  /** For all of it. */
  readonly requestTimeout: number;
  /** Between two looks at that. */
  readonly connectionsCheckingInterval: number;
  /** To take something of an answer. */
  readonly stallMs: number;
  /** Until a guest takes something of its input. */
  readonly heldMs: number;
}

const DEFAULT_TAIL = 65_536;
const DEFAULT_SECONDS = 60;
const DEFAULT_SAMPLE_MS = 1000;
/** Streams of events at a time, and requests that may take long. */
const [MOST_STREAMS, MOST_LONG] = [128, 128];
const TIMES: Omit<RequestTimes, "heldMs"> = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 5000,
  stallMs: STALL_MS,
};
/** Milliseconds that the end waits for VMs, and then for answers on their way. */
const [STOP_MS, LINGER_MS] = [5000, 50];

/** Operations that wait for guests and disks; the others are answered whatever these do. */
const longOperations: ReadonlySet<string> = new Set([
  "up",
  "startVm",
  "snapshotVm",
  "restoreVm",
  "backupVm",
  "cloneVm",
  "execVm",
]);

/** A daemon. */
export class Daemon {
  readonly fleet: Fleet;
  private readonly server: Server;
  private readonly consoles: ConsoleSockets;
  private readonly guestSockets = new GuestSockets();
  private readonly captures = new CaptureSockets();
  private readonly stallMs: number;
  private readonly parts: DaemonParts;
  private readonly history = new History();
  private readonly sampler: Sampler;
  private long = 0;
  private streams = 0;
  private readonly connections: Connections;
  private readonly idleExit: IdleExit | undefined;
  private noteClosed: () => void = () => {};
  /** Resolves when the daemon has ended. */
  readonly closed = new Promise<void>((resolve) => {
    this.noteClosed = resolve;
  });
  /** Why it can't be found, and so ends without a VM; undefined while it can. */
  problem: string | undefined;
  private closing = false;

  private constructor(
    private readonly options: DaemonOptions,
    private readonly scheduler: HostScheduler,
    private readonly presence: Presence,
  ) {
    this.fleet = new Fleet({
      scheduler,
      memory: new HostMemoryBroker(options.memory),
      size: {
        cores: options.cores,
        memoryBytes: options.memory.memoryBytes,
        guests: options.guests,
        ...(options.lacks === undefined ? {} : { lacks: options.lacks }),
      },
      folder: options.folder,
      threadProgram: options.threadProgram,
      ...(options.claim === undefined ? {} : { claim: options.claim }),
      ...(options.runByAgent === undefined ? {} : { runByAgent: options.runByAgent }),
      ...(options.nets === undefined ? {} : { nets: options.nets }),
    });
    this.sampler = new Sampler(this.fleet, this.history, options.sampleMs ?? DEFAULT_SAMPLE_MS, () =>
      presence.look(),
    );
    this.parts = {
      fleet: this.fleet,
      info: () => ({
        version: options.version,
        pid: process.pid,
        cores: options.cores,
        memory: this.fleet.memory.view(),
        folder: options.folder,
      }),
      shutdown: () => void this.close("a client asked for it (shutdown)"),
    };
    const { stallMs, heldMs, ...times } = { ...TIMES, ...options.times };
    this.stallMs = stallMs;
    this.consoles = new ConsoleSockets(heldMs);
    this.server = createServer(times, (request, response) => void this.answer(request, response));
    this.connections = new Connections(refuseTooMany, () => {
      if (!this.closing) this.idleExit?.look();
    });
    if (options.idleExitMs !== undefined)
      this.idleExit = new IdleExit(
        options.idleExitMs,
        () => {
          const isUsed = this.connections.count > 0 || options.isUsed?.() === true;
          return !isUsed && this.fleet.list().every((vm) => !vm.isWanted);
        },
        () => void this.close(`no VM was up and no client there for ${options.idleExitMs! / 1000} s`),
      );
    this.server.on("connection", (socket) => this.connections.add(socket));
    this.server.on("upgrade", (request, socket, head) => this.upgrade(request, socket as Socket, head));
    this.server.on("clientError", (_error, socket) => refuseRaw(socket as Socket, 400, "Bad Request", ""));
    this.server.on("connect", (_request, socket) => refuseRaw(socket as Socket, 405, "Not Allowed", ""));
  }

  /**
   * Starts a daemon.
   * @throws DaemonError `E_DAEMON_RUNNING` if one answers at the socket or has the state folder, `E_SOCKET` and `E_STATE`
   *   if these can't be made
   */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const presence = await Presence.take(options.folder, options.socket);
    const { cores, quantumMs } = options;
    const scheduler = await HostScheduler.start({ cores, ...(quantumMs === undefined ? {} : { quantumMs }) });
    const daemon = new Daemon(options, scheduler, presence);
    try {
      await daemon.fleet.recall();
      await daemon.listen();
    } catch (error) {
      await daemon.fleet.close();
      await scheduler.close();
      await presence.close();
      if (error instanceof DaemonError) throw error;
      throw new DaemonError(
        "E_STATE",
        `can't use the state folder ${options.folder}: ${fileErrorReason(error)}`,
      );
    }
    daemon.sampler.start();
    daemon.watchIdleness();
    return daemon;
  }

  /**
   * Stops all VMs by force and ends. A VM that can't be stopped does not keep it for more than some seconds.
   * @param reason for {@link DaemonOptions.ending}
   */
  async close(reason = "its program has closed it"): Promise<void> {
    if (this.closing) return this.closed;
    this.closing = true;
    this.options.ending?.(reason);
    this.idleExit?.stop();
    this.sampler.stop();
    await within(STOP_MS, this.fleet.close());
    this.consoles.close();
    this.guestSockets.close();
    this.captures.close();
    this.presence.hide();
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      // Streams of events would keep it open; the answer that is on its way is given its time.
      setTimeout(() => this.server.closeAllConnections(), LINGER_MS);
    });
    await within(STOP_MS, this.scheduler.close());
    await this.presence.close();
    this.noteClosed();
  }

  /** What {@link DaemonOptions.isUsed} says may be otherwise now. */
  usageChanged(): void {
    if (!this.closing) this.idleExit?.look();
  }

  private watchIdleness(): void {
    const { idleExit } = this;
    if (idleExit === undefined) return;
    this.fleet.events.listen(({ kind }) => {
      if (kind.startsWith("vm.") && !this.closing) idleExit.look();
    });
    idleExit.look();
  }

  private async listen(): Promise<void> {
    const { events } = this.fleet;
    await this.presence.open(this.server, {
      restored: (what) => {
        this.problem = undefined;
        events.add("daemon.restored", "daemon", `${what} had gone, and is there again`);
      },
      lost: (reason) => {
        if (this.problem !== reason) events.add("daemon.failed", "daemon", reason);
        this.problem = reason;
        // Nobody could find it to end it.
        if (this.fleet.list().every((vm) => !vm.isWanted)) void this.close(reason);
      },
    });
    this.server.on("error", (error) => events.add("daemon.failed", "server", error.message));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // What breaks a connection is told to its other end, and ends only what was asked on it.
    request.on("error", () => {});
    response.on("error", () => {});
    this.connections.asked(request, response);
    try {
      await this.answerPlace(route(request.method ?? "GET", request.url ?? "/"), request, response);
    } catch (error) {
      if (response.headersSent) {
        response.destroy();
        return;
      }
      const { status, text } = errorAnswer(error);
      send(response, status, text, "application/json", this.stallMs);
    }
  }

  private async answerPlace(
    { operation: { id, body }, path, query }: Place,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    switch (id) {
      case "events":
        return this.answerEvents(request, response, query);
      case "metrics":
        return send(response, 200, await this.metrics(), "text/plain; version=0.0.4", this.stallMs);
      case "history": {
        const seconds = countIn(query, "seconds", DEFAULT_SECONDS, Number.MAX_SAFE_INTEGER);
        const samples = this.history.since(Date.now() - seconds * 1000);
        return sendParts(response, jsonList(samples), "application/json", this.stallMs);
      }
      case "logsVm": {
        const vm = this.fleet.vm(path.vm!);
        const tail = await vm.log.tail(countIn(query, "bytes", DEFAULT_TAIL, Number.MAX_SAFE_INTEGER));
        return sendParts(response, tail.parts(), "application/octet-stream", this.stallMs);
      }
      case "consoleVm":
      case "connectVm":
      case "captureNetwork":
        throw new RequestError(
          "E_REQUEST",
          `${webSockets[id]} is a WebSocket: ask for an upgrade of the connection`,
        );
    }
    const gone = new AbortController();
    const { signal } = gone;
    response.on("close", () => gone.abort());
    const act = async (given: Readonly<Record<string, unknown>>) => {
      const answer = await this.counted(id, () =>
        handlers[id]({ path, query, body: given, signal }, this.parts),
      );
      send(response, 200, JSON.stringify(answer), "application/json", this.stallMs);
    };
    await (body === undefined ? act({}) : withBody(request, act));
  }

  /** Does an operation that has been asked for whole; of those that take long, only so many at a time. */
  private async counted(id: string, work: () => unknown): Promise<unknown> {
    if (!longOperations.has(id)) return work();
    if (this.long >= MOST_LONG)
      throw new RequestError("E_BUSY", `${MOST_LONG} requests that take long are under way: try again`);
    this.long++;
    try {
      return await work();
    } finally {
      this.long--;
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

  private answerEvents(request: IncomingMessage, response: ServerResponse, query: URLSearchParams): void {
    if (this.streams >= MOST_STREAMS)
      throw new RequestError("E_BUSY", `${MOST_STREAMS} streams of events are open: close one`);
    // A client that reconnects says which event it had last, as the standard has it.
    const since = request.headers["last-event-id"];
    if (typeof since === "string") query.set("since", since);
    const from = countIn(query, "since", Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    this.streams++;
    response.on("close", () => this.streams--);
    streamEvents(response, this.fleet.events, from);
  }

  private capture(wanted: CaptureRequest, listener: CaptureListener): CaptureHandle {
    const { capture } = this.options;
    if (capture === undefined)
      throw new RequestError("E_REQUEST", "this daemon's networks can't be captured");
    return capture(wanted, listener);
  }

  private upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    // Node has taken its own listener away.
    socket.on("error", () => socket.destroy());
    this.connections.upgraded(socket);
    try {
      const { operation, path, query } = route(request.method ?? "GET", request.url ?? "/");
      if (!Object.hasOwn(webSockets, operation.id))
        throw new RequestError("E_REQUEST", "only consoles, streams to guests and captures are WebSockets");
      if (operation.id === "captureNetwork") {
        const wanted = captureRequest(this.fleet, path.network!, query);
        this.captures.serve(request, socket, head, (listener) => this.capture(wanted, listener));
        return;
      }
      const vm = this.fleet.vm(path.vm!);
      if (operation.id === "connectVm") {
        this.guestSockets.serve(request, socket, head, vm, path.port!);
        return;
      }
      const tail = countIn(query, "tail", 0, Number.MAX_SAFE_INTEGER);
      this.consoles.serve(request, socket, head, vm, this.fleet.events, tail);
    } catch (error) {
      const { status, text } = errorAnswer(error);
      refuseRaw(socket, status, "Refused", text);
    }
  }
}

/** What the operations are that need a WebSocket. */
const webSockets = {
  consoleVm: "a console",
  connectVm: "a stream to a guest",
  captureNetwork: "a capture",
} as const;

/** Ends a connection where there are too many; one that was never answered is told. */
function refuseTooMany(socket: Socket, open: number): void {
  const message = `the daemon has too many connections (${open}): end some, or try again`;
  refuseRaw(socket, 503, "Busy", JSON.stringify({ code: "E_BUSY", message }));
}

/** Waits for a promise, but not longer than so many milliseconds. */
async function within(milliseconds: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([promise.catch(() => {}), late]);
  clearTimeout(timer);
}
