/**
 * Samples all running VMs into the history. At each tick it takes what threads have answered since the one before, and
 * asks those again that have: a thread that does not answer is missing in the samples, and is asked only once. While no
 * VM runs there are no ticks.
 */
import type { VmSample } from "../../api/types.js";
import type { Fleet } from "../../lifecycle/node/fleet.js";
import type { History } from "../history.js";
import { sampleOf } from "../views.js";
import { runningFigures } from "./handlers.js";

/** Takes samples. */
export class Sampler {
  private timer: NodeJS.Timeout | undefined;
  private readonly answers = new Map<string, VmSample>();
  private readonly asked = new Set<string>();
  private unlisten: () => void = () => {};

  /** @param everyMs milliseconds between two samples */
  constructor(
    private readonly fleet: Fleet,
    private readonly history: History,
    private readonly everyMs: number,
  ) {}

  /** Begins; the process may end all the same. */
  start(): void {
    this.unlisten = this.fleet.events.listen(({ kind, name }) => {
      if (kind === "vm.removed") {
        this.answers.delete(name);
        this.history.drop(name);
      } else if (kind === "vm.running") this.wake();
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
    if (this.answers.size > 0) this.history.add({ at: Date.now(), vms: Object.fromEntries(this.answers) });
    this.answers.clear();
    const running = this.fleet.list().filter((vm) => vm.isUp);
    if (running.length === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
    for (const vm of running) {
      const { name } = vm;
      if (this.asked.has(name)) continue;
      this.asked.add(name);
      void runningFigures(this.fleet, vm)
        .then((figures) => {
          const sample = sampleOf(figures);
          if (sample !== undefined && vm.isUp) this.answers.set(name, sample);
        })
        // Without figures there is no sample.
        .catch(() => {})
        .finally(() => this.asked.delete(name));
    }
  }
}
