/**
 * The networks of VMs as the daemon has them: which card has which cable, and the thread that has the networks, which is
 * there as long as anybody is in one. If that thread fails, another one takes its place, with the same cables; what was
 * connected through it is broken off.
 */
import { MessageChannel, type TransferListItem, Worker } from "node:worker_threads";
import {
  type CaptureHandle,
  type CaptureListener,
  type CaptureRequest,
  type ForwardSpec,
  HostNets,
  type NetCommand,
  type NicReport,
  type VmNetwork,
  type VmSpec,
} from "@hyperfile/broker";
import { CableMemory, NetworkError, SlotBell } from "@hyperfile/devices/net";
import { hearCapture } from "./capture-port.js";
import {
  type Cables,
  type CardRequest,
  cardFigures,
  MOST_CARDS,
  type NetworkNews,
  type NetworkRequest,
  type NetworkRequests,
  type NetworkThreadData,
} from "./messages.js";

/** JavaScript heap of the thread in MiB: what connections keep is bounded far below it. */
const HEAP_MEBIBYTES = 512;
/** Milliseconds without any card after which the thread ends. */
const REST_MS = 20_000;

/** What networks are made with. */
export interface HostNetworksOptions {
  /** Module that calls `serveNetworks`. */
  readonly program: URL;
  /** A VM's guest may not reach something. */
  refused(vm: string, what: string): void;
  /** The thread has failed. */
  failed(error: Error): void;
}

/** A VM's places in networks. */
export interface NetworkClaim extends VmNetwork {
  readonly cables: Cables;
  release(): void;
}

/** A card that is connected. */
interface Connected {
  readonly request: CardRequest;
  readonly memory: CableMemory;
  forwards: readonly ForwardSpec[];
}

/** All networks. */
export class HostNetworks {
  private readonly bell = SlotBell.allocate(MOST_CARDS);
  private readonly connected = new Map<number, Connected>();
  private readonly free = Array.from({ length: MOST_CARDS }, (_, at) => MOST_CARDS - 1 - at);
  private readonly waiting = new Map<
    number,
    { resolve(result: unknown): void; reject(error: Error): void }
  >();
  private worker: Worker | undefined;
  private resting: NodeJS.Timeout | undefined;
  private next = 0;
  private isClosed = false;

  /** What VMs and pools may have of the bandwidth. */
  readonly rates = new HostNets();

  constructor(private readonly options: HostNetworksOptions) {
    this.rates.send = (command) => {
      // A thread that begins is told all of it.
      if (this.worker !== undefined) this.tell([command]);
    };
  }

  /**
   * Connects a VM's cards.
   * @returns undefined for a VM without any
   * @throws NetworkError (the promise rejects) for addresses and ports that others have; nothing is connected then
   */
  async take({ name, nics }: VmSpec, project: string): Promise<NetworkClaim | undefined> {
    if (nics.length === 0) return undefined;
    const cards: (Connected | undefined)[] = [];
    const release = (): void => {
      for (const card of cards.splice(0)) if (card !== undefined) this.disconnect(card);
    };
    try {
      for (const { network, mac, address, policy, forwards } of nics) {
        if (network === undefined) {
          cards.push(undefined);
          continue;
        }
        const memory = CableMemory.allocate();
        const slot = this.takeSlot(name);
        const place = { slot, memory: memory.buffer, project, network };
        const card: Connected = {
          request: { ...place, vm: name, mac, address, policy },
          memory,
          forwards: [],
        };
        cards.push(card);
        this.connected.set(slot, card);
        await this.call("connect", card.request);
        for (const forward of forwards) await this.forward(card, forward);
      }
    } catch (error) {
      release();
      throw error;
    }
    const all = [...cards];
    return {
      cables: {
        bell: this.bell.buffer,
        cards: nics.map(({ mac }, at) => ({ mac, cable: all[at]?.request })),
      },
      report: () =>
        nics.map(({ network, mac, address }, at) => reportOf(network?.name, mac, address, all[at])),
      addForward: (at, forward) => this.forward(all[at]!, forward),
      removeForward: (at, forward) => this.unforward(all[at]!, forward),
      release,
    };
  }

  /**
   * Captures a network.
   * @throws NetworkError (`E_NETWORK_OPTION`) where no VM of it is up, or not the VM that is asked for
   */
  capture(request: CaptureRequest, listener: CaptureListener): CaptureHandle {
    const { project, network, vm } = request;
    const isAsked = ({ request: card }: Connected): boolean =>
      card.project === project && card.network.name === network && (vm ?? card.vm) === card.vm;
    if (![...this.connected.values()].some(isAsked))
      throw new NetworkError(
        "E_NETWORK_OPTION",
        vm === undefined
          ? `no VM of network ${project}/${network} is up: start one first`
          : `VM ${vm} is off: start it first`,
      );
    const { port1, port2 } = new MessageChannel();
    let why = "the thread of the networks has failed";
    const handle = hearCapture(port1, listener, () => why);
    this.call("capture", { request, port: port2 }, [port2]).catch(({ message }: Error) => {
      why = message;
    });
    return handle;
  }

  /** Ends the thread. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.resting);
    await this.worker?.terminate();
  }

  private takeSlot(vm: string): number {
    const slot = this.free.pop();
    if (slot === undefined)
      throw new NetworkError(
        "E_NETWORK_OPTION",
        `VM ${vm}: ${MOST_CARDS} network cards are connected: stop other VMs`,
      );
    return slot;
  }

  private disconnect({ request: { slot } }: Connected): void {
    if (!this.connected.delete(slot)) return;
    const isFree = (): void => void this.free.unshift(slot);
    this.call("disconnect", { slot }).then(isFree, isFree);
    if (this.connected.size > 0) return;
    this.resting ??= setTimeout(() => this.rest(), REST_MS).unref();
  }

  private rest(): void {
    this.resting = undefined;
    if (this.connected.size > 0) return;
    const { worker } = this;
    this.worker = undefined;
    void worker?.terminate();
  }

  private async forward(card: Connected, forward: ForwardSpec): Promise<ForwardSpec> {
    const hostPort = await this.call("forward", { slot: card.request.slot, forward });
    const made = { ...forward, hostPort };
    card.forwards = [...card.forwards, made];
    return made;
  }

  private async unforward(card: Connected, forward: ForwardSpec): Promise<void> {
    await this.call("unforward", { slot: card.request.slot, forward });
    card.forwards = card.forwards.filter(
      ({ protocol, hostAddress, hostPort }) =>
        protocol !== forward.protocol || hostAddress !== forward.hostAddress || hostPort !== forward.hostPort,
    );
  }

  private call<Method extends keyof NetworkRequests>(
    method: Method,
    args: NetworkRequests[Method]["args"],
    transfer: readonly TransferListItem[] = [],
  ): Promise<NetworkRequests[Method]["result"]> {
    const id = ++this.next;
    const request: NetworkRequest<Method> = { id, method, args };
    return new Promise((resolve, reject) => {
      this.waiting.set(id, {
        resolve: (result) => resolve(result as NetworkRequests[Method]["result"]),
        reject,
      });
      this.thread().postMessage(request, transfer);
    });
  }

  private tell(commands: readonly NetCommand[]): void {
    this.call("rates", { commands }).catch((error: Error) => this.options.failed(error));
  }

  private thread(): Worker {
    if (this.worker !== undefined) return this.worker;
    const data: NetworkThreadData = { bell: this.bell.buffer };
    const worker = new Worker(this.options.program, {
      workerData: data,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES },
    });
    worker.unref();
    this.worker = worker;
    worker.on("message", (news: NetworkNews) => this.hear(news));
    worker.on("error", (error) => this.replace(worker, error));
    this.tell(this.rates.commands());
    return worker;
  }

  private hear(news: NetworkNews): void {
    if (news.kind === "refused") {
      this.options.refused(news.vm, news.what);
      return;
    }
    const waiting = this.waiting.get(news.id);
    this.waiting.delete(news.id);
    if (news.kind === "reply") waiting?.resolve(news.result);
    else
      waiting?.reject(Object.assign(new NetworkError("E_NETWORK_HOST", news.message), { code: news.code }));
  }

  /** The thread has failed: its cards are connected anew, in another one. */
  private replace(worker: Worker, error: Error): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    const lost = new NetworkError(
      "E_NETWORK_HOST",
      `the thread of the networks has failed: ${error.message}`,
    );
    for (const { reject } of this.waiting.values()) reject(lost);
    this.waiting.clear();
    this.options.failed(lost);
    if (this.isClosed) return;
    for (const card of this.connected.values()) {
      const { forwards } = card;
      card.forwards = [];
      card.memory.setUp(false);
      this.call("connect", card.request)
        .then(() => Promise.all(forwards.map((forward) => this.forward(card, forward))))
        .catch((again: Error) => this.options.failed(again));
    }
  }
}

function reportOf(
  network: string | undefined,
  mac: string,
  address: string | undefined,
  card: Connected | undefined,
): NicReport {
  const figures = card === undefined ? [] : cardFigures.map((name, at) => [name, card.memory.figures[at]!]);
  return { network, mac, address, forwards: card?.forwards ?? [], counters: Object.fromEntries(figures) };
}
