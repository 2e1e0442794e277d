/**
 * Divides machine memory among VMs in nested pools: at each level, the pools and VMs there are claims of the ESX paper's
 * kind (`allocation.ts`), and what a pool gets is divided inside it in the same way. A pool wants what its VMs want,
 * and uses what they use.
 */
import type { ResourceNode } from "../cpu/resource-tree.js";
import { allocatePages, type MemoryClaim } from "./allocation.js";
import { PAGE_SIZE } from "./ports.js";

/** What is known of a VM's memory, in pages. */
export interface MemoryDemand {
  /** RAM that the guest sees. */
  readonly ram: number;
  /** What it has, or would have if it could. */
  readonly wanted: number;
  /** Pages in use. */
  readonly active: number;
}

/** What a VM may have, in pages. */
export interface MemoryTarget {
  /** What it is brought down to while memory is short; its RAM while there is enough for all. */
  readonly target: number;
  /** What it is brought down to at any time: its own limit, or its part of a pool's. */
  readonly limit: number;
  /** What is never taken from it. */
  readonly reservation: number;
}

interface Part {
  readonly node: ResourceNode;
  readonly claim: MemoryClaim;
  readonly children: readonly Part[];
}

/**
 * Works out who may have how many of `total` pages.
 * @param nodes pools and clients, pools before what they hold, with allotments in bytes
 * @param demandOf what is known of a client; undefined for one that has no part in this memory
 * @param part the part of a pool's limit that counts here, where its VMs are in several memories; 1 for all of it
 */
export function divideMemory(
  nodes: readonly ResourceNode[],
  total: number,
  demandOf: (client: string) => MemoryDemand | undefined,
  part: (pool: string) => number = () => 1,
  tax?: number,
): Map<string, MemoryTarget> {
  const inside = new Map<string, ResourceNode[]>();
  for (const node of nodes) {
    if (node.parent === undefined) continue;
    const siblings = inside.get(node.parent);
    if (siblings === undefined) inside.set(node.parent, [node]);
    else siblings.push(node);
  }
  const partOf = (node: ResourceNode): Part | undefined => {
    const { name, allotment } = node;
    const { shares } = allotment;
    if (!node.isPool) {
      const demand = demandOf(name);
      if (demand === undefined) return undefined;
      const limit = Math.min(demand.ram, pages(allotment.limit));
      const reservation = Math.min(demand.ram, pages(allotment.reservation));
      const claim = { name, shares, reservation, limit, demand: demand.wanted, active: demand.active };
      return { node, claim, children: [] };
    }
    const children = (inside.get(name) ?? []).map(partOf).filter((child) => child !== undefined);
    if (children.length === 0) return undefined;
    const sum = (pick: (claim: MemoryClaim) => number) =>
      children.reduce((all, { claim }) => all + pick(claim), 0);
    const limit = Math.min(
      sum((claim) => claim.limit),
      pages(allotment.limit * part(name)),
    );
    const reservation = Math.max(
      sum((claim) => claim.reservation),
      pages(allotment.reservation * part(name)),
    );
    const demand = Math.min(sum(wantedOf), limit);
    const active = sum((claim) => claim.active);
    return {
      node,
      claim: { name, shares, reservation: Math.min(reservation, limit), limit, demand, active },
      children,
    };
  };
  const targets = new Map<string, MemoryTarget>();
  const divide = (children: readonly Part[], amount: number, isLimit: boolean): void => {
    const claims = children.map(({ claim }) => claim);
    const isShort = claims.reduce((all, claim) => all + wantedOf(claim), 0) > amount;
    const amounts = isShort ? allocatePages(claims, amount, tax) : undefined;
    for (const { node, claim, children: below } of children) {
      const given = amounts?.get(claim.name) ?? claim.limit;
      if (node.isPool) {
        const within = Math.min(given, claim.limit);
        // A pool's own limit holds whether memory is short or not.
        divide(below, within, isLimit || within === pages(node.allotment.limit * part(node.name)));
      } else {
        const limit = isShort && isLimit ? Math.min(given, claim.limit) : claim.limit;
        targets.set(claim.name, { target: given, limit, reservation: claim.reservation });
      }
    }
  };
  const root = nodes.find(({ parent }) => parent === undefined);
  const top = root === undefined ? undefined : partOf(root);
  if (top !== undefined) divide(top.children, total, false);
  return targets;
}

const wantedOf = ({ demand, limit }: MemoryClaim): number => Math.min(demand, limit);
const pages = (bytes: number): number => Math.floor(bytes / PAGE_SIZE);
