/**
 * The memory of one thread's VMs, between the host's broker, which says what each may have, and their pages: a few times
 * a second the thread's own broker samples, shares, balloons and swaps, and the host hears what came of it.
 */
import type { CpuGate } from "../cpu/cpu-gate.js";
import type { MemoryTarget } from "../memory/division.js";
import { MemoryShortageError } from "../memory/errors.js";
import type { MemoryFigures } from "../memory/host-memory-broker.js";
import { LateSwap } from "../memory/late-swap.js";
import { MemoryBroker, type MemorySettings } from "../memory/memory-broker.js";
import { PAGE_SIZE } from "../memory/ports.js";
import { type SwapBackend, SwapStore } from "../memory/swap-store.js";
import type { GuestMemoryParts } from "./guest-port.js";

/** Milliseconds between two looks at the memory, and while it is at rest: then only working sets are sampled. */
const [TICK_MS, REST_MS] = [250, 30_000];
/** Most pages of a thread's swap file; the disk may have room for fewer. */
const SWAP_PAGES = 2 ** 22;
/** VMs of one thread are copies of one another, or of one group: what they share tells no stranger anything. */
const GROUP = "thread";

/** The memory of a thread's VMs. */
export class ThreadMemory {
  private broker: MemoryBroker | undefined;
  private readonly told = new Map<string, MemoryFigures>();
  /** What the host lets each VM have, as it said last. */
  private readonly targets = new Map<string, MemoryTarget>();
  private readonly waiting = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isResting = false;
  /** A VM has run, or something else has changed, since the last look. */
  private isStirred = false;

  /**
   * @param openSwap makes the place for pages that go out, when the first one does; without it none do
   * @param tell takes a VM's figures when they have changed
   */
  constructor(
    private readonly openSwap: (() => SwapBackend) | undefined,
    private readonly tell: (vm: string, figures: MemoryFigures) => void,
  ) {}

  /** Looks after a VM's memory from now on. @param settings where no host has targets for it */
  add(
    vm: string,
    { frames, common, memory, balloon, reservedFrame }: GuestMemoryParts,
    settings: MemorySettings = {},
  ): void {
    this.broker ??= this.start(frames, common);
    this.broker.add({ name: vm, memory, balloon, reservedFrame, group: GROUP, settings });
    this.told.delete(vm);
    this.stir();
  }

  /** Changes what a VM may have, where no host has targets for it. @throws MemoryAdmissionError as the broker does */
  configure(vm: string, settings: MemorySettings): void {
    this.broker?.set(vm, settings);
    this.stir();
  }

  /** Looks after another memory in the place of a VM's, under the target that the host has told. */
  replace(vm: string, parts: GuestMemoryParts, settings: MemorySettings = {}): void {
    this.broker?.remove(vm);
    this.add(vm, parts, settings);
    const target = this.targets.get(vm);
    if (target !== undefined) this.broker?.setTarget(vm, target);
  }

  /** Lets a VM go that has ended. */
  remove(vm: string): void {
    this.broker?.remove(vm);
    this.told.delete(vm);
    this.targets.delete(vm);
    if (this.broker?.names().length !== 0) return;
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** What the host lets a VM have. */
  setTarget(vm: string, target: MemoryTarget): void {
    this.targets.set(vm, target);
    this.broker?.setTarget(vm, target);
    this.stir();
  }

  /**
   * A gate that also keeps a VM from running while it must give memory up first. After a turn in which there was no memory
   * for it, it throws a MemoryShortageError, and the core is given back.
   */
  gate(vm: string, inner: CpuGate): CpuGate {
    let cancelled = false;
    let wake: (() => void) | undefined;
    const mayRun = () => this.broker?.mayRun(vm) ?? true;
    const check = () => {
      if (this.broker?.wasDenied(vm) === true) throw new MemoryShortageError(vm);
    };
    return {
      acquire: async () => {
        cancelled = false;
        this.stir();
        while (!mayRun() && !cancelled) {
          await new Promise<void>((resolve) => {
            wake = resolve;
            this.waiting.add(resolve);
          });
        }
        if (!cancelled) await inner.acquire();
      },
      // What it writes from now on is for looks that come after.
      mayContinue: () => {
        this.stir();
        check();
        return inner.mayContinue() && mayRun();
      },
      release: (wish) => {
        this.stir();
        inner.release(wish);
        // Also where the guest has ended for want of it.
        check();
      },
      cancel: () => {
        cancelled = true;
        wake?.();
        inner.cancel();
      },
    };
  }

  private start(frames: GuestMemoryParts["frames"], common: GuestMemoryParts["common"]): MemoryBroker {
    const { openSwap } = this;
    return new MemoryBroker({
      frames,
      ...(common === undefined ? {} : { common }),
      ...(openSwap === undefined ? {} : { swap: new SwapStore(new LateSwap(openSwap), SWAP_PAGES) }),
    });
  }

  /** Something has happened that the memory's next look is for. */
  private stir(): void {
    this.isStirred = true;
    if (this.timer === undefined || this.isResting) this.arm(TICK_MS);
  }

  private arm(milliseconds: number): void {
    clearTimeout(this.timer);
    this.isResting = milliseconds === REST_MS;
    const timer = setTimeout(() => {
      const { broker } = this;
      this.timer = undefined;
      if (broker === undefined || broker.names().length === 0) return;
      const wasStirred = this.isStirred;
      this.isStirred = false;
      if (wasStirred) broker.stir();
      this.tick(broker);
      this.arm(wasStirred || !broker.isAtRest ? TICK_MS : REST_MS);
    }, milliseconds);
    this.timer = timer;
    // Where timers keep a process alive, this one does not.
    (timer as { unref?: () => void }).unref?.();
  }

  private tick(broker: MemoryBroker): void {
    broker.tick(performance.now());
    for (const vm of broker.names()) {
      const { granted, ballooned, swapped, active, balloonStuck } = broker.report(vm)!;
      const pages = (bytes: number) => Math.round(bytes / PAGE_SIZE);
      const figures = {
        granted: pages(granted),
        ballooned: pages(ballooned),
        swapped: pages(swapped),
        active: pages(active),
        balloonStuck,
      };
      const before = this.told.get(vm);
      if (before !== undefined && same(before, figures)) continue;
      this.told.set(vm, figures);
      this.tell(vm, figures);
    }
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const wake of waiting) wake();
  }
}

function same(one: MemoryFigures, other: MemoryFigures): boolean {
  return (Object.keys(one) as (keyof MemoryFigures)[]).every((name) => one[name] === other[name]);
}
