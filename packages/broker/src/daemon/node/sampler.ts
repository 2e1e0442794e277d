/**
 * Samples all running VMs into the history. At each tick it takes what threads have answered since the one before, and
 * asks those again that have: a thread that does not answer is missing in the samples, and is asked only once. A VM that
 * has not run since it was asked is asked seldom, so that an idle one's thread rests. While no VM runs there are no ticks.
 */
import type { VmSample } from "../../api/types.js";
import type { Fleet } from "../../lifecycle/node/fleet.js";
import type { ManagedVm } from "../../lifecycle/node/managed-vm.js";
import type { History } from "../history.js";
import { sampleOf } from "../views.js";
import { type RunningFigures, runningFigures, scheduledFigures } from "./handlers.js";

/** Ticks after which a VM is asked that has not run: others may have taken memory from it or share it no more. */
const ASK_IDLE_EVERY = 30;

/** What is known of a VM. */
interface Known {
  /** Instructions that it had retired when it was asked last. */
  readonly retired: number;
  /** Number of the tick at which it was. */
  readonly at: number;
  /** What it answered; undefined if it has not. */
  figures: RunningFigures | undefined;
}

/** Takes samples. */
export class Sampler {
  private timer: NodeJS.Timeout | undefined;
  private readonly known = new Map<string, Known>();
  /** Samples since the last tick. */
  private readonly samples = new Map<string, VmSample>();
  private readonly asked = new Set<string>();
  /** Counters of VMs at their last samples. */
  private readonly counters = new Map<string, Readonly<Record<string, number>>>();
  private ticks = 0;
  private unlisten: () => void = () => {};

  /**
   * @param everyMs milliseconds between two samples
   * @param ticked is called at each tick
   */
  constructor(
    private readonly fleet: Fleet,
    private readonly history: History,
    private readonly everyMs: number,
    private readonly ticked: () => void = () => {},
  ) {}

  /** Begins; the process may end all the same. */
  start(): void {
    this.unlisten = this.fleet.events.listen(({ kind, name }) => {
      if (kind === "vm.removed") {
        this.samples.delete(name);
        this.history.drop(name);
      } else if (kind === "vm.running") this.wake();
      if (kind === "vm.off" || kind === "vm.crashed") {
        this.known.delete(name);
        this.counters.delete(name);
      }
    });
    this.wake();
  }

  stop(): void {
    this.unlisten();
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private wake(): void {
    this.timer ??= setInterval(() => this.tick(), this.everyMs).unref();
  }

  private tick(): void {
    this.ticks++;
    this.ticked();
    if (this.samples.size > 0) this.history.add({ at: Date.now(), vms: Object.fromEntries(this.samples) });
    this.samples.clear();
    const running = this.fleet.list().filter((vm) => vm.isUp);
    if (running.length === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    for (const vm of running) {
      if (this.asked.has(vm.name)) continue;
      const known = this.known.get(vm.name);
      const { retired = -1 } = this.fleet.cpuOf(vm.name) ?? {};
      if (known?.figures !== undefined && known.retired === retired && this.ticks - known.at < ASK_IDLE_EVERY)
        this.keep(vm, { ...known.figures, ...scheduledFigures(this.fleet, vm) });
      else this.ask(vm, { retired, at: this.ticks, figures: undefined });
    }
  }

  private ask(vm: ManagedVm, known: Known): void {
    const { name } = vm;
    this.asked.add(name);
    this.known.set(name, known);
    void runningFigures(this.fleet, vm)
      .then((figures) => {
        if (figures.silentMs === undefined) known.figures = figures;
        this.keep(vm, figures);
      })
      // Without figures there is no sample.
      .catch(() => {})
      .finally(() => this.asked.delete(name));
  }

  private keep(vm: ManagedVm, figures: RunningFigures): void {
    const sample = sampleOf(figures, this.counters.get(vm.name), vm.nics());
    if (sample === undefined || !vm.isUp) return;
    this.samples.set(vm.name, sample);
    if (figures.counters !== undefined) this.counters.set(vm.name, figures.counters);
  }
}
