/**
 * Brings the VMs of a Hyperfile up, one after another in its order. What each needs is planned before the first is started,
 * so that names are taken at once; what fails for one is reported for that one, and those that come after it are skipped.
 */
import type { VmSpec } from "../../hyperfile/types.js";
import { LifecycleError } from "../errors.js";
import type { EventLog } from "../events.js";
import { fullPool } from "../pool-book.js";
import { compareSpecs, type VmChange } from "../settings.js";
import type { ManagedVm } from "./managed-vm.js";

/** What `up` did. */
export interface UpReport {
  readonly project: string;
  /** One entry a VM or pool, in order. */
  readonly actions: readonly {
    readonly name: string;
    readonly action:
      | "started"
      | "unchanged"
      | "changed"
      | "restarted"
      | "needs restart"
      | "defined"
      | "provisioned"
      | "no longer declared"
      /** It has run, and was off before its start was answered. */
      | "ended"
      /** It was not started, since one that it comes after has failed. */
      | "skipped"
      | "failed";
    /** What there is to say; of one that has failed, why. */
    readonly detail?: string;
    /** Of one that has failed: the stable name of the reason. */
    readonly code?: string;
  }[];
}

/** One entry of a report. */
export type UpAction = UpReport["actions"][number];

/** What it asks of the fleet. */
export interface BringUpHost {
  readonly events: EventLog;
  /** A VM, if there is one of that name. */
  find(name: string): ManagedVm | undefined;
  /** The same. @throws LifecycleError `E_VM_UNKNOWN` */
  vm(name: string): ManagedVm;
  define(spec: VmSpec, project: string, folder: string, pool: string): ManagedVm;
  forget(vm: ManagedVm): void;
  /** Changes what a running VM may have of the host. @throws ResourceError; nothing changes then */
  applyResources(vm: ManagedVm, change: VmChange): void;
}

/** What is brought up. */
export interface Project {
  readonly name: string;
  /** Folder from which the files of its VMs are named. */
  readonly folder: string;
  /** Whether to start VMs again whose changes need it. */
  readonly restart: boolean;
  /** It is taken down: what is under way is given up. */
  readonly signal: AbortSignal;
}

/**
 * Brings VMs up.
 * @throws LifecycleError `E_VM_STATE` if the project is taken down meanwhile
 */
export async function bringUp(
  host: BringUpHost,
  project: Project,
  specs: readonly VmSpec[],
): Promise<UpAction[]> {
  const steps = specs.map((spec) => ({ spec, act: plan(host, project, spec) }));
  const actions: UpAction[] = [];
  const failed = new Set<string>();
  for (const { spec, act } of steps) {
    const { name } = spec;
    const before = spec.after.find((other) => failed.has(other));
    if (before !== undefined && spec.autostart && !host.vm(name).isUp) {
      failed.add(name);
      actions.push({ name, action: "skipped", detail: `it comes after ${before}, which has failed` });
      continue;
    }
    const over = () => new LifecycleError("E_VM_STATE", `project ${project.name} is being taken down`);
    if (project.signal.aborted) throw over();
    try {
      actions.push(...(await act()));
    } catch (error) {
      if (project.signal.aborted) throw over();
      failed.add(name);
      const { message, code = "E_GUEST" } = error as { message: string; code?: string };
      actions.push({ name, action: "failed", detail: message, code });
    }
  }
  return actions;
}

/**
 * Runs the commands of a VM's specification, one after another.
 * @param signal gives them up
 * @throws LifecycleError `E_PROVISION` at the first that fails; as `ManagedVm.exec`
 */
export async function provision(vm: ManagedVm, events: EventLog, signal?: AbortSignal): Promise<void> {
  const steps = vm.spec.provision;
  for (const { run, timeoutMs, status } of steps) {
    const result = await vm.exec(run, timeoutMs, { signal, as: "provisioning" });
    if (result.status === status) continue;
    const { output, errors = "" } = result;
    const last = (errors.trim() || output.trim()).split("\n").at(-1)!;
    throw new LifecycleError(
      "E_PROVISION",
      `provisioning of VM ${vm.name} failed: "${run}" ended with status ${result.status}, not ${status}${last === "" ? "" : `: ${last}`}`,
    );
  }
  if (steps.length > 0) events.add("vm.provisioned", vm.name);
}

/** Defines a VM; the result makes it so. */
function plan(host: BringUpHost, project: Project, spec: VmSpec): () => Promise<UpAction[]> {
  const { name } = spec;
  const existing = host.find(name);
  const pool = fullPool(project.name, spec.pool);
  if (existing?.isUp)
    return () => {
      if (existing.isUp) return changeRunning(host, project, existing, spec);
      existing.declare(spec);
      return startOne(host, name, project.signal);
    };
  if (existing === undefined || existing.pool !== pool) {
    define(host, existing, spec, project, pool);
    return spec.autostart
      ? () => startOne(host, name, project.signal)
      : async () => [{ name, action: "defined" }];
  }
  existing.declare(spec);
  return spec.autostart
    ? () => startOne(host, name, project.signal)
    : async () => [{ name, action: "unchanged" }];
}

/** Defines a VM in the place of another one, if there is one, which is off. */
function define(
  host: BringUpHost,
  existing: ManagedVm | undefined,
  spec: VmSpec,
  { name, folder }: Pick<Project, "name" | "folder">,
  pool: string,
): void {
  if (existing !== undefined) host.forget(existing);
  const vm = host.define(spec, name, folder, pool);
  existing?.declare(spec, vm);
}

/** Applies to a VM that runs what can be applied. */
async function changeRunning(
  host: BringUpHost,
  { folder, restart, signal }: Project,
  existing: ManagedVm,
  spec: VmSpec,
): Promise<UpAction[]> {
  const { name, project } = existing;
  const pool = fullPool(project, spec.pool);
  const { live, needStart } = compareSpecs(existing.declared, spec);
  const actions: UpAction[] = [];
  if (live.length > 0) {
    host.applyResources(existing, {
      ...(live.includes("cpu") ? { cpu: spec.cpu } : {}),
      ...(live.includes("memory") ? { memory: spec.memory } : {}),
      ...(live.includes("disk") ? { disk: spec.disk } : {}),
      ...(live.includes("net") ? { net: spec.net } : {}),
    });
    const fields = live.filter((field) => field !== "forwards");
    const changed = Object.fromEntries(fields.map((field) => [field, spec[field]]));
    existing.spec = { ...existing.spec, ...changed };
    if (live.includes("forwards")) await existing.followForwards(spec.nics);
    host.events.add("vm.changed", name, live.join(", "));
    actions.push({ name, action: "changed", detail: live.join(", ") });
  }
  if (needStart.length > 0 && restart) {
    await existing.stop(false);
    if (existing.pool !== pool) define(host, existing, spec, { name: project, folder }, pool);
    else existing.declare(spec);
    const vm = host.vm(name);
    await vm.start();
    await provision(vm, host.events, signal);
    actions.push({ name, action: "restarted", detail: needStart.join(", ") });
  } else if (needStart.length > 0) {
    actions.push({ name, action: "needs restart", detail: needStart.join(", ") });
  }
  return actions.length > 0 ? actions : [{ name, action: "unchanged" }];
}

async function startOne(host: BringUpHost, name: string, signal: AbortSignal): Promise<UpAction[]> {
  const vm = host.vm(name);
  // Somebody may have started it since it was defined.
  if (vm.isUp) return [{ name, action: "unchanged" }];
  await vm.start();
  const { length } = vm.spec.provision;
  if (!vm.isUp && length === 0 && vm.end !== undefined)
    return [{ name, action: "ended", detail: `status ${vm.end.status}` }];
  if (length === 0) return [{ name, action: "started" }];
  await provision(vm, host.events, signal);
  return [
    { name, action: "started" },
    { name, action: "provisioned", detail: `${length} ${length === 1 ? "command" : "commands"}` },
  ];
}
