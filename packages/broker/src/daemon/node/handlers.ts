/** What the daemon does for each operation of its API that answers with JSON. */
import { isAbsolute } from "node:path";
import type { OperationId } from "../../api/operations.js";
import { openApiDocument } from "../../api/operations.js";
import type { DaemonView, PoolView, VmView } from "../../api/types.js";
import { shortened } from "../../hyperfile/message-text.js";
import { type ForwardSpec, formatForward, forwardUsage, parseForward } from "../../hyperfile/net-text.js";
import { LifecycleError } from "../../lifecycle/errors.js";
import type { Fleet } from "../../lifecycle/node/fleet.js";
import type { ManagedVm } from "../../lifecycle/node/managed-vm.js";
import { parseSettings } from "../../lifecycle/settings.js";
import { PAGE_SIZE } from "../../memory/ports.js";
import { accountsView, allotmentView, diskView, netView, nicView } from "../views.js";

/** A request, taken apart. */
export interface ApiRequest {
  readonly path: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  /** The JSON body; an empty object if there was none. */
  readonly body: Readonly<Record<string, unknown>>;
  /** Who asks has gone. */
  readonly signal: AbortSignal;
}

/** What handlers act on. */
export interface DaemonParts {
  readonly fleet: Fleet;
  info(): DaemonView;
  shutdown(): void;
}

/** Operations that don't answer with JSON; the server has them. */
export type StreamOperation =
  | "events"
  | "metrics"
  | "logsVm"
  | "consoleVm"
  | "connectVm"
  | "captureNetwork"
  | "history";

const DEFAULT_EXEC_MS = 60_000;
/** Longest time that a timer holds, in milliseconds. */
const MOST_MS = 2 ** 31 - 1;

/** The handlers. */
export const handlers: {
  readonly [Id in Exclude<OperationId, StreamOperation>]: (
    request: ApiRequest,
    parts: DaemonParts,
  ) => unknown;
} = {
  version: (_, { info }) => info(),
  openapi: (_, { info }) => openApiDocument(info().version),
  up: ({ body, signal }, { fleet }) =>
    fleet.up(
      { text: textOf(body, "text"), file: textOf(body, "file"), folder: textOf(body, "folder") },
      body.restart === true,
      signal,
    ),
  down: ({ path, body }, { fleet }) => fleet.down(path.project!, body.force === true),
  listVms: (_, { fleet }) => allVms(fleet),
  getVm: ({ path }, { fleet }) => viewOf(fleet, fleet.vm(path.vm!)),
  removeVm: ({ path, query }, { fleet }) =>
    fleet.remove(path.vm!, query.get("force") === "true").then(nothing),
  setVm: ({ path, body }, { fleet }) => {
    fleet.set(path.vm!, parseSettings(textsOf(body, "settings")));
    return viewOf(fleet, fleet.vm(path.vm!));
  },
  setPool: ({ path, body }, { fleet }) => {
    const { restart, ...resources } = parseSettings(textsOf(body, "settings"));
    if (restart !== undefined)
      throw new LifecycleError(
        "E_SETTING",
        "of a pool only shares, reservation and limit of cpu, memory, disk and net can be set",
      );
    fleet.setPool(path.pool!, resources);
    return {};
  },
  startVm: ({ path, body }, { fleet }) =>
    fleet.start(path.vm!, typeof body.snapshot === "string" ? body.snapshot : undefined).then(nothing),
  stopVm: ({ path, body }, { fleet }) =>
    fleet
      .vm(path.vm!)
      .stop(body.force === true, timeOf(body, undefined))
      .then(nothing),
  pauseVm: ({ path }, { fleet }) => fleet.vm(path.vm!).pause().then(nothing),
  resumeVm: ({ path }, { fleet }) => fleet.vm(path.vm!).resume().then(nothing),
  resetVm: ({ path }, { fleet }) => fleet.vm(path.vm!).reset().then(nothing),
  snapshotVm: ({ path }, { fleet }) => fleet.vm(path.vm!).snapshot(path.snapshot!),
  restoreVm: ({ path, body }, { fleet }) =>
    fleet.vm(path.vm!).restore(textOf(body, "snapshot")).then(nothing),
  backupVm: ({ path, body }, { fleet }) => {
    const { disk = 0 } = body;
    const store = textOf(body, "store");
    if (typeof disk !== "number")
      throw new LifecycleError("E_SETTING", "the request's disk must be a number");
    if (!isAbsolute(store))
      throw new LifecycleError("E_SETTING", "the request's store must be an absolute path of a folder");
    return fleet.vm(path.vm!).backup({ disk, store, name: textOf(body, "name") });
  },
  cloneVm: ({ path, body }, { fleet }) =>
    fleet.clone(path.vm!, textOf(body, "name"), parseSettings(textsOf(body, "settings", []))),
  forwardVm: async ({ path, body }, { fleet }) => {
    const { card } = body;
    if (card !== undefined && !(typeof card === "number" && Number.isInteger(card) && card >= 0))
      throw new LifecycleError("E_SETTING", "the request's card must be a whole number");
    const forward = forwardOf(textOf(body, "forward"));
    return {
      forward: formatForward(await fleet.vm(path.vm!).addForward(forward, card as number | undefined)),
    };
  },
  unforwardVm: ({ path, query }, { fleet }) =>
    fleet
      .vm(path.vm!)
      .removeForward(forwardOf(query.get("forward") ?? ""))
      .then(nothing),
  execVm: ({ path, body, signal }, { fleet }) =>
    fleet.vm(path.vm!).exec(textOf(body, "command"), timeOf(body, DEFAULT_EXEC_MS), { signal }),
  activities: (_, { fleet }) => fleet.activities.list(),
  listPools: (_, { fleet }) => poolViews(fleet),
  pastEvents: (_, { fleet }) => fleet.events.since(0),
  shutdown: (_, parts) => {
    parts.shutdown();
    return {};
  },
};

const nothing = (): object => ({});

function textOf(body: Readonly<Record<string, unknown>>, name: string): string {
  const value = body[name];
  if (typeof value !== "string")
    throw new LifecycleError("E_SETTING", `the request's ${name} must be a text`);
  return value;
}

function forwardOf(text: string): ForwardSpec {
  const forward = parseForward(text);
  if (forward !== undefined) return forward;
  throw new LifecycleError("E_SETTING", `${shortened(text)} leads nowhere: write it like ${forwardUsage}`);
}

function textsOf(body: Readonly<Record<string, unknown>>, name: string, otherwise?: string[]): string[] {
  const value = body[name] ?? otherwise;
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string"))
    throw new LifecycleError("E_SETTING", `the request's ${name} must be a list of texts`);
  return value as string[];
}

function timeOf<Otherwise extends number | undefined>(
  { timeoutMs }: Readonly<Record<string, unknown>>,
  otherwise: Otherwise,
): number | Otherwise {
  if (timeoutMs === undefined) return otherwise;
  if (typeof timeoutMs !== "number" || !(timeoutMs > 0 && timeoutMs <= MOST_MS))
    throw new LifecycleError("E_SETTING", `the request's timeoutMs must be a number from 1 to ${MOST_MS}`);
  return timeoutMs;
}

/** All VMs as the API shows them. */
export function allVms(fleet: Fleet): Promise<VmView[]> {
  return Promise.all(fleet.list().map((vm) => viewOf(fleet, vm)));
}

async function viewOf(fleet: Fleet, vm: ManagedVm): Promise<VmView> {
  const { accounts, activity, ...figures } = await runningFigures(fleet, vm);
  const { spec, end } = vm;
  return {
    name: vm.name,
    project: vm.project,
    pool: vm.pool,
    state: vm.state,
    ...(end === undefined ? {} : { status: end.status }),
    ...(end?.message === undefined ? {} : { message: end.message }),
    ...(vm.startedAt === undefined ? {} : { startedAt: vm.startedAt }),
    restarts: vm.restarts,
    restart: spec.restart,
    memoryBytes: spec.memoryBytes,
    cpu: allotmentView(spec.cpu),
    memoryAllotment: allotmentView(spec.memory),
    disk: diskView(spec.disk),
    net: netView(spec.net),
    ...(accounts === undefined ? {} : { accounts, activity }),
    ...figures,
    nics: vm.nics().map(nicView),
    snapshots: vm.snapshots(),
  };
}

/** The figures that only a running VM has. */
export type RunningFigures = Pick<
  VmView,
  "accounts" | "activity" | "instructions" | "memory" | "counters" | "silentMs"
>;

/** A running VM's figures; those that can be had. */
export async function runningFigures(fleet: Fleet, vm: ManagedVm): Promise<RunningFigures> {
  const figures = await vm.figures();
  return {
    ...scheduledFigures(fleet, vm),
    ...(figures?.silentMs === undefined ? {} : { silentMs: Math.round(figures.silentMs) }),
    ...(figures?.last === undefined
      ? {}
      : {
          instructions: figures.last.retired,
          memory: { ...figures.last.memory, ...memoryTarget(fleet, vm.name) },
          counters: figures.last.counters,
        }),
  };
}

/** Those that the scheduler knows, without asking the VM's thread. */
export function scheduledFigures(fleet: Fleet, vm: ManagedVm): RunningFigures {
  const report = fleet.cpuOf(vm.name);
  return report === undefined ? {} : { accounts: accountsView(report.accounts), activity: report.state };
}

/** What a VM may have of memory, and seems to use, in bytes. */
function memoryTarget(fleet: Fleet, vm: string): { readonly target: number; readonly active: number } {
  const { target, active } = fleet.memory.report(vm) ?? { target: 0, active: 0 };
  return { target: target * PAGE_SIZE, active: active * PAGE_SIZE };
}

/** All pools as the API shows them. */
export function poolViews(fleet: Fleet): PoolView[] {
  const memory = new Map(
    fleet.memory.list().flatMap((node) => (node.isPool ? [[node.name, node.allotment] as const] : [])),
  );
  const disks = fleet.scheduler.disks.pools();
  const nets = fleet.nets.pools();
  return fleet.scheduler
    .nodes()
    .filter(({ isPool }) => isPool)
    .map(({ name, parent, allotment, claim }) => ({
      name,
      ...(parent === undefined ? {} : { parent }),
      cpu: allotmentView(allotment),
      memory: allotmentView(memory.get(name)!),
      disk: diskView(disks.get(name)!),
      net: netView(nets.get(name)!),
      claim,
      available: fleet.scheduler.available(name),
    }));
}
