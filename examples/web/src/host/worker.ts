/** The worker that runs all VMs of a page: the broker's fleet, and the machines that it divides the thread among. */
import { InlineFleet, type InlineNic } from "@hyperfile/broker/inline";
import { listOpfs, readOpfs, removeOpfs, writeOpfs } from "@hyperfile/devices/web";
import { SnapshotFile, zstdCodec } from "@hyperfile/machine/snapshot";
import { GuestMaker } from "./page-guest.js";
import type { PageNetwork } from "./page-network.js";
import {
  type HostInput,
  type HostMethod,
  type HostNews,
  type HostRequest,
  type HostRequests,
  type OutsideChoice,
  PAGE_NETWORK,
  type VmRecipe,
} from "./protocol.js";
import { recipeOf } from "./snapshot-recipe.js";

/** Folder of the browser's private file system for snapshots. */
const KEPT = "snapshots";
/** Milliseconds between two tellings of figures. */
const FIGURES_MS = 250;

const scope = globalThis as unknown as {
  postMessage(news: HostNews, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<HostRequest | HostInput>) => void) | null;
  readonly crossOriginIsolated?: boolean;
};

const maker = new GuestMaker();
const fleet = new InlineFleet({
  listener: {
    state: (vm, state, end) => tell({ kind: "state", vm, state, ...(end === undefined ? {} : { end }) }),
    console: (vm, bytes) => tell({ kind: "console", vm, bytes }, [bytes.buffer as ArrayBuffer]),
  },
  openNetwork: (spec) => network!.open(spec),
});
let shelved = 0;

/** The page's network, which is loaded for the first card. */
let network: PageNetwork | undefined;
let loading: Promise<PageNetwork> | undefined;
let outside: OutsideChoice = { kind: "none" };

function networkOf(): Promise<PageNetwork> {
  loading ??= (async () => {
    const { PageNetwork } = await import("./page-network.js");
    network = new PageNetwork(fleet, outside);
    fleet.networks.add(PAGE_NETWORK);
    await network.begin();
    return network;
  })();
  return loading;
}

/** The cards of a VM, with a place in the network for the first. */
async function nicsOf(vm: string, count: number): Promise<InlineNic[]> {
  if (count === 0) return [];
  const first = await (await networkOf()).claim(vm);
  return [first, ...Array.from({ length: count - 1 }, () => ({}))];
}

/** Takes a VM in, whose claims are given back if that fails. */
async function withNics<T>(
  vm: string,
  count: number,
  take: (nics: InlineNic[]) => T | Promise<T>,
): Promise<T> {
  if (fleet.has(vm)) throw new Error(`there is a VM ${vm} already: use another name`);
  const nics = await nicsOf(vm, count);
  try {
    return await take(nics);
  } catch (error) {
    network?.giveBack(vm);
    throw error;
  } finally {
    network?.announce();
  }
}

function tell(news: HostNews, transfer: Transferable[] = []): void {
  scope.postMessage(news, transfer);
}

/** Puts a snapshot where a guest finds it, while `use` lasts. */
async function shelve<T>(snapshot: Uint8Array, use: (path: string) => Promise<T>): Promise<T> {
  const path = `shelf ${shelved++}`;
  maker.shelf.set(path, snapshot);
  try {
    return await use(path);
  } finally {
    maker.shelf.delete(path);
  }
}

async function saved(vm: string): Promise<Uint8Array> {
  const path = `shelf ${shelved++}`;
  try {
    await fleet.snapshot(vm, path);
    return maker.shelf.get(path)!;
  } finally {
    maker.shelf.delete(path);
  }
}

const methods: {
  readonly [Method in HostMethod]: (
    args: HostRequests[Method]["args"],
  ) => HostRequests[Method]["result"] | Promise<HostRequests[Method]["result"]>;
} = {
  async add({ vm, recipe }) {
    const { pool, cpu, memory, nics: count = 0, isPlugged } = recipe;
    await withNics(vm, count, (nics) => {
      fleet.add(vm, {
        make: (name, surroundings) => maker.make(recipe, name, surroundings),
        nics,
        ...(pool === undefined ? {} : { pool }),
        ...(cpu === undefined ? {} : { cpu }),
        ...(memory === undefined ? {} : { memory }),
      });
      if (isPlugged === false && count > 0) fleet.networks.plug(vm, 0, false);
    });
    return undefined;
  },
  async start({ vm, snapshot }) {
    await (snapshot === undefined ? fleet.start(vm) : shelve(snapshot, (path) => fleet.start(vm, path)));
    return undefined;
  },
  pause: ({ vm }) => fleet.pause(vm).then(() => undefined),
  resume: ({ vm }) => fleet.resume(vm).then(() => undefined),
  reset: ({ vm }) => fleet.reset(vm).then(() => undefined),
  stop: ({ vm }) => fleet.stop(vm).then(() => undefined),
  async remove({ vm }) {
    await fleet.remove(vm);
    network?.giveBack(vm);
    network?.announce();
    return undefined;
  },
  save: ({ vm }) => saved(vm),
  async keep({ vm, name }) {
    const bytes = await saved(vm);
    await writeOpfs(`${KEPT}/${name}`, [bytes]);
    return bytes.length;
  },
  kept: async () =>
    (await listOpfs(KEPT)).map(({ name, bytes }) => ({ name: name.slice(KEPT.length + 1), bytes })),
  take: ({ name }) => readOpfs(`${KEPT}/${name}`),
  async dropKept({ name }) {
    await removeOpfs(`${KEPT}/${name}`);
    return undefined;
  },
  async restore({ vm, snapshot }) {
    await shelve(snapshot, (path) => fleet.restore(vm, path));
    return undefined;
  },
  async clone({ vm, name }) {
    const nics = fleet.figures().find((each) => each.name === vm)?.nics ?? [];
    return withNics(name, nics.length, async (own) => {
      const milliseconds = await fleet.clone(vm, name, { nics: own });
      if (nics[0]?.isPlugged === false) fleet.networks.plug(name, 0, false);
      return milliseconds;
    });
  },
  configure({ vm, cpu, memory, net }) {
    fleet.configure(vm, {
      ...(net === undefined ? {} : { net }),
      ...(cpu === undefined ? {} : { cpu }),
      ...(memory === undefined ? {} : { memory }),
    });
    return undefined;
  },
  addPool({ pool, cpu }) {
    fleet.addPool(pool, cpu);
    return undefined;
  },
  removePool({ pool }) {
    fleet.removePool(pool);
    return undefined;
  },
  configurePool({ pool, cpu, net }) {
    if (cpu !== undefined) fleet.configurePool(pool, cpu);
    if (net !== undefined) fleet.networks.configurePool(pool, net);
    return undefined;
  },
  plug({ vm, isPlugged }) {
    fleet.networks.plug(vm, 0, isPlugged);
    const [nic] = fleet.figures().find(({ name }) => name === vm)!.nics;
    if (isPlugged) maker.plugged(nic!.mac);
    return undefined;
  },
  async lead({ outside: choice }) {
    outside = choice;
    await network?.lead(choice);
    return undefined;
  },
  async describe({ snapshot }): Promise<VmRecipe> {
    return recipeOf(new SnapshotFile(snapshot, await zstdCodec()));
  },
};

async function answer({ id, method, args }: HostRequest): Promise<void> {
  try {
    const result = await methods[method](args as never);
    tell({ kind: "reply", id, result }, result instanceof Uint8Array ? [result.buffer as ArrayBuffer] : []);
  } catch (error) {
    const { message, code } = error as { message?: string; code?: string };
    tell({ kind: "refusal", id, message: message ?? String(error), code: code ?? "E_HOST" });
  }
}

function type(vm: string, bytes: Uint8Array): void {
  try {
    fleet.type(vm, bytes);
  } catch (error) {
    tell({ kind: "problem", message: (error as Error).message });
  }
}

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "request":
      void answer(data);
      break;
    case "heard":
      fleet.heard(data.vm, data.bytes);
      break;
    // Keys typed at a VM that has just been removed are for nobody.
    case "type":
      if (fleet.has(data.vm)) type(data.vm, data.bytes);
      break;
    case "resize":
      if (fleet.has(data.vm)) fleet.resize(data.vm, data.columns, data.rows);
      break;
  }
};

maker.reserve();
tell({ kind: "ready", isIsolated: scope.crossOriginIsolated === true, memoryBytes: maker.memory.all });
maker.prepare();
setInterval(
  () =>
    tell({
      kind: "figures",
      figures: {
        vms: fleet.figures(),
        pools: fleet.pools(),
        network: network?.figures,
        at: performance.now(),
        memory: maker.memory,
      },
    }),
  FIGURES_MS,
);
