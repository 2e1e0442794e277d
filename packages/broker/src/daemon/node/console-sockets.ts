/**
 * Consoles over WebSocket. A client costs a fixed amount, whatever it does: output that it does not read is dropped and
 * it is told how much, its input is read only as fast as the guest takes it, and what it sends is small and answered
 * only while it reads the answers.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { EventLog } from "../../lifecycle/events.js";
import type { ManagedVm } from "../../lifecycle/node/managed-vm.js";
import { RequestError } from "./routes.js";
import { closeReason } from "./socket-words.js";

/** Consoles at a time. */
const MOST_CLIENTS = 256;
/** Bytes of one message, its parts, and the pieces in which it may arrive. */
const MESSAGES = { maxPayload: 2 ** 18, maxFragments: 256, maxBufferedChunks: 4096 };
/** Output that waits for a client before more is dropped, and to which it must fall before there is more. */
const [MOST_WAITING, RESUME_AT] = [2 ** 20, 2 ** 18];
/** Bytes of the log that a console begins with at most. */
const MOST_TAIL = 2 ** 20;
/** Milliseconds of a client whose input no guest takes. */
const HELD_MS = 60_000;
/** Close codes (RFC 6455, 7.4.1): the purpose is fulfilled; the policy is violated. */
const [CLOSE_NORMAL, CLOSE_POLICY] = [1000, 1008];
/** Milliseconds that a client has to hear why it is sent away. */
const LINGER_MS = 1000;

/** The consoles that clients have open. */
export class ConsoleSockets {
  private readonly server = new WebSocketServer({ noServer: true, autoPong: false, ...MESSAGES });

  /** @param heldMs milliseconds for which a guest may take none of a client's input before the client is sent away */
  constructor(private readonly heldMs = HELD_MS) {}

  /**
   * Serves a VM's console.
   * @param tail bytes of the log to begin with
   * @throws RequestError `E_BUSY` if there are too many
   */
  serve(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    vm: ManagedVm,
    events: EventLog,
    tail: number,
  ): void {
    if (this.server.clients.size >= MOST_CLIENTS)
      throw new RequestError("E_BUSY", `${MOST_CLIENTS} consoles are open: close one`);
    this.server.handleUpgrade(request, socket, head, (client) => {
      client.on("error", () => client.terminate());
      client.on("ping", (data) => {
        if (client.bufferedAmount < MOST_WAITING) client.pong(data);
      });
      const end = sendOutput(client, vm, Math.min(tail, MOST_TAIL));
      hearInput(client, vm, this.heldMs);
      const unlisten = events.listen(({ kind, name }) => {
        if (name === vm.name && (kind === "vm.off" || kind === "vm.crashed")) end(kind);
      });
      client.on("close", unlisten);
    });
  }

  /** Cuts all off. */
  close(): void {
    for (const client of this.server.clients) client.terminate();
  }
}

/** Sends the log's end and what is printed from now on; the result sends what waits, and closes. */
function sendOutput(client: WebSocket, vm: ManagedVm, tail: number): (reason: string) => void {
  let dropped = 0;
  const noteSent = () => {
    if (dropped === 0 || client.bufferedAmount > RESUME_AT) return;
    client.send(JSON.stringify({ dropped }));
    dropped = 0;
  };
  const write = (bytes: Uint8Array) => {
    if (dropped > 0 || client.bufferedAmount > MOST_WAITING) dropped += bytes.length;
    else client.send(bytes, noteSent);
  };
  // What is printed while the log is read comes after it.
  let early: Uint8Array[] | undefined = [];
  let earlyBytes = 0;
  const before = vm.log.tail(tail);
  const unwatch = vm.watch((bytes) => {
    if (early === undefined) write(bytes);
    else if (earlyBytes > MOST_WAITING) dropped += bytes.length;
    else {
      early.push(bytes);
      earlyBytes += bytes.length;
    }
  });
  client.on("close", unwatch);
  const ready = before
    .then(async (log) => {
      for await (const part of log.parts())
        await new Promise<void>((resolve) => client.send(part, () => resolve()));
    })
    // A log that can't be read has been told of; the console goes on without it.
    .catch(() => {})
    .then(() => {
      const waiting = early!;
      early = undefined;
      const lost = dropped;
      dropped = 0;
      for (const bytes of waiting) write(bytes);
      dropped += lost;
      if (dropped > 0 && client.bufferedAmount === 0) noteSent();
    });
  return (reason) => void ready.then(() => client.close(CLOSE_NORMAL, reason));
}

/** Types what comes, and reads no further while the guest does not take it. */
function hearInput(client: WebSocket, vm: ManagedVm, heldMs: number): void {
  let typing = 0;
  let timer: NodeJS.Timeout | undefined;
  const limit = () => {
    clearTimeout(timer);
    const { inputTaken } = vm;
    timer = setTimeout(() => {
      if (vm.inputTaken !== inputTaken) {
        limit();
        return;
      }
      client.close(CLOSE_POLICY, `the guest has taken no input for ${heldMs / 1000} s`);
      setTimeout(() => client.terminate(), LINGER_MS).unref();
    }, heldMs);
  };
  const refuse = (error: unknown) => client.close(CLOSE_POLICY, closeReason((error as Error).message));
  client.on("message", (data, isBinary) => {
    try {
      if (!isBinary) {
        resize(vm, data.toString());
        return;
      }
      const typed = vm.type(new Uint8Array(data as Buffer));
      if (typing++ === 0) client.pause();
      limit();
      void typed.then(() => {
        if (--typing > 0) return;
        clearTimeout(timer);
        client.resume();
      });
    } catch (error) {
      refuse(error);
    }
  });
  client.on("close", () => clearTimeout(timer));
}

function resize(vm: ManagedVm, text: string): void {
  const { columns, rows } = (JSON.parse(text) ?? {}) as Record<string, unknown>;
  const isSize = (value: unknown): value is number =>
    Number.isInteger(value) && Number(value) > 0 && Number(value) <= 1000;
  if (!isSize(columns) || !isSize(rows))
    throw new RequestError("E_REQUEST", "columns and rows are whole numbers from 1 to 1000");
  vm.resize(columns, rows);
}
