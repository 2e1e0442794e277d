/** A client of the daemon, over its Unix socket. */
import { type IncomingMessage, request } from "node:http";
import type { WebSocket } from "ws";
import type { Activity } from "../../lifecycle/activities.js";
import type { FleetEvent } from "../../lifecycle/events.js";
import type { BackupReport, GuestStream, GuestStreamEvents } from "../../lifecycle/guest-port.js";
import type { ExecResult } from "../../lifecycle/guest-shell.js";
import type { UpReport } from "../../lifecycle/node/fleet.js";
import type { SnapshotInfo } from "../../lifecycle/node/snapshot-folder.js";
import type { DaemonView, PoolView, Sample, VmView } from "../types.js";
import { CaptureConnection, type CaptureLimits } from "./capture.js";
import { SocketStream } from "./guest-stream.js";

/** The daemon refused, could not be reached (`E_DAEMON_UNREACHABLE`), or ended the connection (`E_DAEMON_SILENT`). */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly code: string,
    message: string,
    /** Of a Hyperfile: every mistake, a line each. */
    readonly problems: readonly string[] = [],
  ) {
    super(message);
  }
}

/** A connection to a VM's console. */
export interface ConsoleConnection {
  /** Types bytes; gives how many of them, from the front, it has taken: none while too many wait for the daemon. */
  send(bytes: Uint8Array): number;
  resize(columns: number, rows: number): void;
  close(): void;
  /** Resolves when the VM or the connection has ended. */
  readonly closed: Promise<ConsoleEnd>;
}

/** How a connection to a console has ended. */
export interface ConsoleEnd {
  /** What the daemon says of it; empty if nothing. */
  readonly reason: string;
  /** Whether it was cut off: neither has the VM ended, nor was the connection closed here. */
  readonly isCut: boolean;
}

/** Bytes of a message to a console: the daemon takes no longer ones. */
const MESSAGE = 65_536;
/** Bytes that wait for the daemon before a console takes no more. */
const MOST_WAITING = 2 ** 20;
/** Close codes (RFC 6455, 7.4.1): the purpose is fulfilled; a close frame without a code, as the answer to ours is. */
const [CLOSE_NORMAL, CLOSE_NO_STATUS] = [1000, 1005];

/** A client. */
export class DaemonClient {
  /** @param socket path of the daemon's socket */
  constructor(readonly socket: string) {}

  version(): Promise<DaemonView> {
    return this.ask("GET", "/v1/version");
  }

  up(source: { text: string; file: string; folder: string; restart?: boolean }): Promise<UpReport> {
    return this.ask("POST", "/v1/up", source);
  }

  down(project: string, force = false): Promise<string[]> {
    return this.ask("POST", `/v1/projects/${encodeURIComponent(project)}/down`, { force });
  }

  vms(): Promise<VmView[]> {
    return this.ask("GET", "/v1/vms");
  }

  vm(name: string): Promise<VmView> {
    return this.ask("GET", place(name));
  }

  remove(name: string, force = false): Promise<void> {
    return this.ask("DELETE", `${place(name)}?force=${force}`);
  }

  set(name: string, settings: readonly string[]): Promise<VmView> {
    return this.ask("PATCH", place(name), { settings });
  }

  setPool(name: string, settings: readonly string[]): Promise<void> {
    return this.ask("PATCH", `/v1/pools/${encodeURIComponent(name)}`, { settings });
  }

  start(name: string, snapshot?: string): Promise<void> {
    return this.ask("POST", `${place(name)}/start`, snapshot === undefined ? {} : { snapshot });
  }

  stop(name: string, options: { force?: boolean; timeoutMs?: number } = {}): Promise<void> {
    return this.ask("POST", `${place(name)}/stop`, options);
  }

  pause(name: string): Promise<void> {
    return this.ask("POST", `${place(name)}/pause`);
  }

  resume(name: string): Promise<void> {
    return this.ask("POST", `${place(name)}/resume`);
  }

  reset(name: string): Promise<void> {
    return this.ask("POST", `${place(name)}/reset`);
  }

  snapshot(name: string, snapshot: string): Promise<SnapshotInfo> {
    return this.ask("POST", `${place(name)}/snapshots/${encodeURIComponent(snapshot)}`);
  }

  /** Goes back to a snapshot; a VM that is up is as it was if that is refused. */
  restore(name: string, snapshot: string): Promise<void> {
    return this.ask("POST", `${place(name)}/restore`, { snapshot });
  }

  /** @param store absolute path of the store's folder */
  backup(name: string, disk: number, store: string, image: string): Promise<BackupReport> {
    return this.ask("POST", `${place(name)}/backups`, { disk, store, name: image });
  }

  clone(name: string, copy: string, settings: readonly string[] = []): Promise<{ milliseconds: number }> {
    return this.ask("POST", `${place(name)}/clone`, { name: copy, settings });
  }

  /** Lets a port of the host lead to a VM; gives the forward with the port that it has. */
  forward(name: string, forward: string, card?: number): Promise<{ readonly forward: string }> {
    return this.ask("POST", `${place(name)}/forwards`, { forward, ...(card === undefined ? {} : { card }) });
  }

  /** Ends a forward, by the port that it has. */
  unforward(name: string, forward: string): Promise<void> {
    return this.ask("DELETE", `${place(name)}/forwards?forward=${encodeURIComponent(forward)}`);
  }

  exec(name: string, command: string, timeoutMs?: number): Promise<ExecResult> {
    return this.ask("POST", `${place(name)}/exec`, {
      command,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  async logs(name: string, bytes?: number): Promise<Uint8Array> {
    const query = bytes === undefined ? "" : `?bytes=${bytes}`;
    return readAll(await this.send("GET", `${place(name)}/logs${query}`));
  }

  /** What is being done with projects and VMs at this moment, the oldest first. */
  activities(): Promise<Activity[]> {
    return this.ask("GET", "/v1/activities");
  }

  pools(): Promise<PoolView[]> {
    return this.ask("GET", "/v1/pools");
  }

  history(seconds: number): Promise<Sample[]> {
    return this.ask("GET", `/v1/history?seconds=${seconds}`);
  }

  async metrics(): Promise<string> {
    return new TextDecoder().decode(await readAll(await this.send("GET", "/metrics")));
  }

  shutdown(): Promise<void> {
    return this.ask("POST", "/v1/shutdown");
  }

  /** The events that the daemon has kept. */
  pastEvents(): Promise<FleetEvent[]> {
    return this.ask("GET", "/v1/events/past");
  }

  /** Events from now on, or after a number; ends with the connection. */
  async *events(since?: number): AsyncGenerator<FleetEvent> {
    const response = await this.send("GET", `/v1/events${since === undefined ? "" : `?since=${since}`}`);
    let text = "";
    const decoder = new TextDecoder();
    for await (const part of response as AsyncIterable<Buffer>) {
      text += decoder.decode(part, { stream: true });
      const records = text.split("\n\n");
      text = records.pop() ?? "";
      for (const record of records) {
        const data = record.split("\n").find((line) => line.startsWith("data: "));
        if (data !== undefined) yield JSON.parse(data.slice("data: ".length)) as FleetEvent;
      }
    }
  }

  /**
   * Connects to a VM's console.
   * @param write takes its output; nothing more is read while a promise that it gives is pending. The daemon drops what
   *   is not read in time
   * @param options `tail`: bytes of the log to begin with; `dropped` takes the number of bytes that were dropped, which
   *   else become a line of the output
   */
  async console(
    name: string,
    write: (bytes: Uint8Array) => unknown,
    options: { readonly tail?: number; readonly dropped?: (bytes: number) => void } = {},
  ): Promise<ConsoleConnection> {
    const query = options.tail === undefined ? "" : `?tail=${options.tail}`;
    // Most programs need no console, and would load the library for nothing.
    const { WebSocket } = await import("ws");
    const socket = new WebSocket(`ws+unix:${this.socket}:${place(name)}/console${query}`);
    socket.binaryType = "nodebuffer";
    const take = (bytes: Uint8Array) => {
      const written = write(bytes);
      if (!(written instanceof Promise)) return;
      socket.pause();
      void written.finally(() => socket.resume());
    };
    const tellDropped =
      options.dropped ??
      ((bytes) =>
        take(new TextEncoder().encode(`\r\n[${bytes} bytes were dropped: they were not read in time]\r\n`)));
    socket.on("message", (data, isBinary) => {
      if (isBinary) take(new Uint8Array(data as Buffer));
      else tellDropped((JSON.parse(data.toString()) as { dropped: number }).dropped);
    });
    return new Promise((resolve, reject) => {
      const closed = new Promise<ConsoleEnd>((end) => {
        socket.on("close", (code, reason) =>
          end({ reason: reason.toString(), isCut: code !== CLOSE_NORMAL && code !== CLOSE_NO_STATUS }),
        );
      });
      socket.on("unexpected-response", (_request, response) => {
        void refusal(response).then(reject);
      });
      socket.on("error", (error) => reject(this.failed(error)));
      socket.on("open", () =>
        resolve({
          send: (bytes) => {
            let taken = 0;
            while (taken < bytes.length && socket.bufferedAmount < MOST_WAITING) {
              const part = bytes.subarray(taken, taken + MESSAGE);
              socket.send(part, { binary: true });
              taken += part.length;
            }
            return taken;
          },
          resize: (columns, rows) => socket.send(JSON.stringify({ columns, rows })),
          close: () => socket.close(),
          closed,
        }),
      );
    });
  }

  /**
   * Opens a stream to a program that listens at a port in a VM's guest.
   * @param refused takes why the daemon has refused it, before `failed`
   */
  connect(
    name: string,
    port: number,
    events: GuestStreamEvents,
    refused: (error: ApiError) => void = () => {},
  ): GuestStream {
    return new SocketStream(this.openSocket(`${place(name)}/ports/${port}`), events, (error) => {
      if (error instanceof ApiError) refused(error);
      return error.message;
    });
  }

  /**
   * Captures a network of VMs that are up.
   * @param network `NETWORK` or `PROJECT/NETWORK`
   * @returns a capture that waits to be taken; what the daemon keeps for it is bounded
   */
  async capture(network: string, limits: CaptureLimits = {}): Promise<CaptureConnection> {
    const given = Object.entries(limits).filter(([, value]) => value !== undefined);
    const query = new URLSearchParams(given.map(([key, value]) => [key, String(value)]));
    const path = `/v1/networks/${encodeURIComponent(network)}/capture?${query}`;
    return new CaptureConnection(await this.openSocket(path));
  }

  /** A WebSocket that is open, and paused. @throws ApiError (the promise rejects) */
  private async openSocket(path: string): Promise<WebSocket> {
    // Most programs need none, and would load the library for nothing.
    const { WebSocket } = await import("ws");
    const socket = new WebSocket(`ws+unix:${this.socket}:${path}`, { perMessageDeflate: false });
    socket.binaryType = "nodebuffer";
    return new Promise((resolve, reject) => {
      socket.on("unexpected-response", (_request, response) => {
        void refusal(response).then(reject);
      });
      socket.on("error", (error) => reject(this.failed(error)));
      // What comes before somebody listens would be lost.
      socket.on("open", () => {
        socket.pause();
        resolve(socket);
      });
    });
  }

  private async ask<Answer>(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await this.send(method, path, body);
    return JSON.parse(new TextDecoder().decode(await readAll(response))) as Answer;
  }

  private async send(method: string, path: string, body?: unknown): Promise<IncomingMessage> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(
        {
          socketPath: this.socket,
          method,
          path,
          headers: { "content-type": "application/json", "content-length": Buffer.byteLength(text) },
        },
        resolve,
      );
      sent.on("error", (error) => reject(this.failed(error)));
      sent.end(text);
    });
    if (response.statusCode !== 200) throw await refusal(response);
    return response;
  }

  private failed({ message, code, syscall }: NodeJS.ErrnoException): ApiError {
    if (syscall !== "connect")
      return new ApiError(
        "E_DAEMON_SILENT",
        `the daemon at ${this.socket} has ended the connection without an answer (${message}): it has too many, or is ending; try again`,
      );
    // The queue of those that want to connect is full.
    if (code === "EAGAIN")
      return new ApiError(
        "E_BUSY",
        `too many others want to connect to the daemon at ${this.socket}: try again`,
      );
    return new ApiError("E_DAEMON_UNREACHABLE", `no daemon answers at ${this.socket}: ${message}`);
  }
}

const place = (vm: string): string => `/v1/vms/${encodeURIComponent(vm)}`;

async function readAll(response: IncomingMessage): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for await (const part of response as AsyncIterable<Buffer>) parts.push(part);
  return new Uint8Array(Buffer.concat(parts));
}

async function refusal(response: IncomingMessage): Promise<ApiError> {
  const text = new TextDecoder().decode(await readAll(response));
  try {
    const { code, message, problems } = JSON.parse(text) as {
      code: string;
      message: string;
      problems?: string[];
    };
    return new ApiError(code, message, problems);
  } catch {
    return new ApiError("E_INTERNAL", `the daemon answered with status ${response.statusCode}`);
  }
}
