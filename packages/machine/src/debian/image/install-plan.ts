/**
 * In which order packages are unpacked and configured.
 *
 * dpkg configures whatever is unpacked in an order of its own that follows `Depends`; `Pre-Depends` have to be configured
 * before a package is unpacked (Debian policy, 7.2), which is why there is more than one batch. The packages come in apt's
 * order, in which each stands behind those.
 */

/** What decides whether a package belongs to the system that dpkg is first run in. */
export interface RelatedPackage {
  readonly name: string;
  /** `required` and others (Debian policy, 2.5). */
  readonly priority: string;
  readonly depends: readonly string[];
  readonly preDepends: readonly string[];
}

/** Names of the required packages and of what they need, as far as it is among `packages`. */
export function basePackages(packages: readonly RelatedPackage[]): ReadonlySet<string> {
  const byName = new Map(packages.map((each) => [each.name, each]));
  const found = new Set<string>();
  const add = (each: RelatedPackage): void => {
    if (found.has(each.name)) return;
    found.add(each.name);
    for (const name of [...each.preDepends, ...each.depends]) {
      const needed = byName.get(name);
      if (needed !== undefined) add(needed);
    }
  };
  for (const each of packages) if (each.priority === "required") add(each);
  return found;
}

/** What the order depends on. */
export interface PlannedPackage {
  readonly name: string;
  /** Names that have to be configured first; those that are not planned count as there. */
  readonly preDepends: readonly string[];
  /** Bytes that the package takes while it is unpacked. */
  readonly bytes: number;
}

/** Packages that are configured together, in groups that are unpacked together. */
export type InstallBatch<P extends PlannedPackage> = readonly (readonly P[])[];

/**
 * The batches, in order.
 * @param configured packages that are there already, as far as `Pre-Depends` go: they are in the first batch all the same
 * @param mostBytes of a group, unless a single package has more
 */
export function installPlan<P extends PlannedPackage>(
  packages: readonly P[],
  configured: ReadonlySet<string>,
  mostBytes: number,
): readonly InstallBatch<P>[] {
  const ordered = [
    ...packages.filter(({ name }) => configured.has(name)),
    ...packages.filter(({ name }) => !configured.has(name)),
  ];
  const batches: P[][][] = [];
  let pending = new Set<string>();
  let groupBytes = 0;
  for (const each of ordered) {
    const isFree = configured.has(each.name);
    if (batches.length === 0 || (!isFree && each.preDepends.some((name) => pending.has(name)))) {
      batches.push([]);
      pending = new Set();
    }
    const batch = batches.at(-1)!;
    if (batch.length === 0 || groupBytes + each.bytes > mostBytes) {
      batch.push([]);
      groupBytes = 0;
    }
    batch.at(-1)!.push(each);
    groupBytes += each.bytes;
    if (!isFree) pending.add(each.name);
  }
  return batches;
}
