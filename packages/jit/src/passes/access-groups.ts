/**
 * Finds accesses of a block that can share one look into the TLB: those at constant distances from one value, which
 * usually lie in one page (a stack frame, the members of a structure).
 *
 * A backend checks at the first access of a group that the whole span lies in a page that the TLB knows; the others
 * then need no check of their own. Where that fails, each access is checked as if there were no groups. A group with
 * a store is checked in the TLB for stores, since what may be written may be read. Helpers and atomics may change
 * any mapping: no group goes across one.
 */
import type { Block, Operation, Value } from "@hyperfile/decoder";

/** Accesses that share a check. */
export interface AccessGroup {
  /** Lowest distance from the base, in bytes. */
  readonly least: number;
  /** Bytes from there to the end of the last one. */
  readonly span: number;
  /** Bytes of the widest access: the lowest address must be a multiple. */
  readonly alignment: number;
  /** Whether any is a store. */
  readonly writes: boolean;
  /** Position of the first and of the last access in the block. */
  readonly first: Value;
  readonly last: Value;
}

/** An access as a member of its group. */
export interface GroupMember {
  readonly group: AccessGroup;
  /** Bytes from the group's lowest address to this access. */
  readonly offset: number;
}

/** Longest span in bytes: long ones often cross into another page. */
const LONGEST_SPAN = 512;
/** Fewest accesses that make a group: two hardly pay for the check of the span, and every group adds cold code. */
const FEWEST = 3;

interface Candidate {
  readonly position: Value;
  readonly distance: number;
  readonly bytes: number;
  readonly writes: boolean;
}

/** Stands for the base of accesses relative to the program counter. */
const PC_BASE = -1;
/** The first of the bases of accesses at known addresses, one for each 256 bytes. */
const KNOWN_BASE = -2;

/** For each operation of `block`, its place in a group; undefined for what is in none. */
export function accessGroups(block: Block): readonly (GroupMember | undefined)[] {
  const members = new Array<GroupMember | undefined>(block.operations.length).fill(undefined);
  let open = new Map<number, Candidate[]>();
  const closeAll = () => {
    for (const candidates of open.values()) makeGroup(candidates, members);
    open = new Map();
  };
  block.operations.forEach((operation, position) => {
    switch (operation.op) {
      case "call":
      case "amo":
      case "lr":
      case "sc":
        closeAll();
        return;
      case "load":
      case "store": {
        const { base, distance } = placeOf(block, operation.args[0]!);
        const candidate = {
          position: position as Value,
          distance,
          bytes: operation.width! >> 3,
          writes: operation.op === "store",
        };
        const known = open.get(base);
        if (known === undefined) open.set(base, [candidate]);
        else if (fits(known, candidate)) known.push(candidate);
        else {
          makeGroup(known, members);
          open.set(base, [candidate]);
        }
      }
    }
  });
  closeAll();
  return members;
}

/** The value that an address is a constant distance from. */
function placeOf(block: Block, address: Value): { base: number; distance: number } {
  const operation = block.operations[address]!;
  if (operation.op === "pc") return { base: PC_BASE, distance: operation.constant as number };
  const known = smallConstant(operation);
  if (known !== undefined) return { base: KNOWN_BASE - (known >>> 8), distance: known };
  if (operation.op === "add") {
    const distance = smallConstant(block.operations[operation.args[1]!]!);
    if (distance !== undefined) return { base: operation.args[0]!, distance };
  }
  return { base: address, distance: 0 };
}

function smallConstant({ op, constant }: Operation): number | undefined {
  if (op !== "const") return undefined;
  if (typeof constant === "number") return constant;
  return constant!.hi === constant!.lo >> 31 ? constant!.lo : undefined;
}

const leastOf = (candidates: readonly Candidate[]): number =>
  Math.min(...candidates.map((candidate) => candidate.distance));
const endOf = (candidates: readonly Candidate[]): number =>
  Math.max(...candidates.map((candidate) => candidate.distance + candidate.bytes));

/** Whether a span would stay short, and one alignment would do for all. */
function fits(candidates: readonly Candidate[], next: Candidate): boolean {
  const all = [...candidates, next];
  const least = leastOf(all);
  return (
    endOf(all) - least <= LONGEST_SPAN &&
    all.every((candidate) => (candidate.distance - least) % candidate.bytes === 0)
  );
}

function makeGroup(candidates: readonly Candidate[], members: (GroupMember | undefined)[]): void {
  if (candidates.length < FEWEST) return;
  const least = leastOf(candidates);
  const group: AccessGroup = {
    least,
    span: endOf(candidates) - least,
    alignment: Math.max(...candidates.map((candidate) => candidate.bytes)),
    writes: candidates.some((candidate) => candidate.writes),
    first: candidates[0]!.position,
    last: candidates[candidates.length - 1]!.position,
  };
  for (const { position, distance } of candidates) members[position] = { group, offset: distance - least };
}
