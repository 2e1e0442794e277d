/**
 * In which order packages are unpacked and configured.
 *
 * Packages that are laid out are there from the start, for dpkg to configure; others it unpacks itself. dpkg configures in
 * an order of its own that follows `Depends`; `Pre-Depends` have to be configured before a package is unpacked (Debian
 * policy, 7.2), which is why there is more than one batch. The packages come in apt's order, in which each stands behind
 * those.
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
  readonly depends: readonly string[];
  /** Bytes that the package takes while dpkg unpacks it; undefined if it is laid out, as dpkg would have unpacked it. */
  readonly bytes: number | undefined;
}

/** Packages that dpkg unpacks, in groups that are unpacked together, and what is configured then. */
export interface InstallBatch<P> {
  readonly groups: readonly (readonly P[])[];
  /** Names of packages whose needs are all there; in the last batch that is all that is left. */
  readonly configure: readonly string[];
}

/**
 * The batches, in order.
 * @param base packages that can be used before they are configured, as far as `Pre-Depends` go
 * @param mostBytes of a group, unless a single package has more
 */
export function installPlan<P extends PlannedPackage>(
  packages: readonly P[],
  base: ReadonlySet<string>,
  mostBytes: number,
): readonly InstallBatch<P>[] {
  const unpacked = packages.filter(({ bytes }) => bytes !== undefined);
  const ordered = [
    ...unpacked.filter(({ name }) => base.has(name)),
    ...unpacked.filter(({ name }) => !base.has(name)),
  ];
  const batches: { groups: P[][]; configure: string[] }[] = [{ groups: [], configure: [] }];
  const waiting = new Set(packages.map(({ name }) => name));
  const absent = new Set(ordered.map(({ name }) => name));
  const configure = (): void => {
    const ready = withoutNeeds(packages, absent).filter((name) => waiting.has(name));
    batches.at(-1)!.configure = ready;
    for (const name of ready) waiting.delete(name);
  };
  let groupBytes = 0;
  for (const each of ordered) {
    const isFree = (name: string) => base.has(name) || !waiting.has(name);
    if (!base.has(each.name) && !each.preDepends.every(isFree)) {
      configure();
      // Needs that go in a circle can't all be met; dpkg is told to go on.
      batches.push({ groups: [], configure: [] });
    }
    const { groups } = batches.at(-1)!;
    const bytes = each.bytes ?? 0;
    if (groups.length === 0 || groupBytes + bytes > mostBytes) {
      groups.push([]);
      groupBytes = 0;
    }
    groups.at(-1)!.push(each);
    groupBytes += bytes;
    absent.delete(each.name);
  }
  configure();
  return batches;
}

/** The names of packages that are there and need, directly or not, none of those that are absent. */
function withoutNeeds(packages: readonly PlannedPackage[], absent: ReadonlySet<string>): string[] {
  const lacking = new Set(absent);
  for (let size = -1; size !== lacking.size; ) {
    size = lacking.size;
    for (const { name, depends, preDepends } of packages)
      if (depends.some((each) => lacking.has(each)) || preDepends.some((each) => lacking.has(each)))
        lacking.add(name);
  }
  return packages.map(({ name }) => name).filter((name) => !lacking.has(name));
}
