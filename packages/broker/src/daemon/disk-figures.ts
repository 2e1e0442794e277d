/**
 * What VMs' disks do, out of the counters that their threads tell: operations and bytes of all disks together, what their
 * budget held up, and how long answers took. Counters of a disk are `diskN.KIND.FIGURE`; those of latencies are
 * `diskN.KIND.within.MS`, each of its own class, the last of them `more`.
 */

/** Kinds of operations that are counted each for itself. */
export const diskKinds = ["read", "write", "flush"] as const;
export type DiskKind = (typeof diskKinds)[number];

/** Operations by the class of their latency. */
export interface LatencyHistogram {
  /** By the upper bound of the class in milliseconds, in order; the last one is infinite. */
  readonly classes: readonly { readonly bound: number; readonly count: number }[];
  readonly count: number;
  /** Milliseconds of all together. */
  readonly milliseconds: number;
}

/** Sums over all disks of a VM. */
export interface DiskSums {
  readonly operations: number;
  readonly bytes: number;
  /** Seconds in which requests waited for the budget of the VM's disks, or for others' at the store. */
  readonly throttled: number;
}

type Counters = Readonly<Record<string, number>>;

const COUNTER = /^disk\d+\.(read|write|flush)\.(?:within\.)?([\w.]+)$/;

/** The sums. */
export function diskSums(counters: Counters): DiskSums {
  let [operations, bytes] = [0, 0];
  for (const [name, value] of Object.entries(counters)) {
    const figure = COUNTER.exec(name)?.[2];
    if (figure === "operations") operations += value;
    else if (figure === "bytes") bytes += value;
  }
  return { operations, bytes, throttled: (counters["disks.throttled.milliseconds"] ?? 0) / 1000 };
}

/** Latencies of some kinds of operations of all disks; undefined for a VM without disks. */
export function diskLatencies(
  counters: Counters,
  kinds: readonly DiskKind[] = diskKinds,
): LatencyHistogram | undefined {
  const counts = new Map<number, number>();
  let milliseconds = 0;
  for (const [name, value] of Object.entries(counters)) {
    const [, kind, figure] = COUNTER.exec(name) ?? [];
    if (kind === undefined || !kinds.includes(kind as DiskKind)) continue;
    if (figure === "milliseconds") milliseconds += value;
    if (!name.includes(".within.")) continue;
    const bound = figure === "more" ? Infinity : Number(figure);
    counts.set(bound, (counts.get(bound) ?? 0) + value);
  }
  if (counts.size === 0) return undefined;
  const classes = [...counts].map(([bound, count]) => ({ bound, count }));
  classes.sort((one, other) => one.bound - other.bound);
  return { classes, count: classes.reduce((sum, { count }) => sum + count, 0), milliseconds };
}

/** What was counted since an earlier look; a VM that was started anew has counted all of it. */
export function latenciesSince(
  before: LatencyHistogram | undefined,
  after: LatencyHistogram,
): LatencyHistogram {
  if (before === undefined || before.count > after.count) return after;
  return {
    classes: after.classes.map(({ bound, count }, at) => ({
      bound,
      count: count - before.classes[at]!.count,
    })),
    count: after.count - before.count,
    milliseconds: after.milliseconds - before.milliseconds,
  };
}

/**
 * Milliseconds within which a part of the operations were answered, taken as evenly spread in their class; 0 without any.
 * What is above all bounds counts as the last of these.
 */
export function latencyWithin({ classes, count }: LatencyHistogram, part: number): number {
  let [below, least] = [0, 0];
  for (const { bound, count: here } of classes) {
    if (here > 0 && below + here >= part * count) {
      if (bound === Infinity) return least;
      return least + (bound - least) * Math.max(0, (part * count - below) / here);
    }
    below += here;
    if (bound !== Infinity) least = bound;
  }
  return 0;
}
