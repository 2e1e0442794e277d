/**
 * Finds structure in a region's graph, from which loops and blocks of a structured language follow: dominators,
 * loop headers, merge points, and the longest way to the next budget check
 * (N. Ramsey, "Beyond Relooper: recursive translation of unstructured control flow to structured control flow",
 * ICFP 2022; K. D. Cooper, T. J. Harvey, K. Kennedy, "A simple, fast dominance algorithm", 2001).
 *
 * A jump back to a block that does not dominate its source would need a dispatch loop. It leaves the region instead:
 * its target soon has a region of its own.
 */
import { mostOf } from "@hyperfile/decoder";
import type { Edge, Region, RegionNode } from "./graph.js";

/** A node with its place in the structure. */
export interface StructuredNode {
  readonly node: RegionNode;
  /** Position in reverse postorder. */
  readonly order: number;
  readonly edges: readonly StructuredEdge[];
  /** Whether some jump comes back to it. */
  isLoop: boolean;
  /** Whether more than one forward edge reaches it. */
  isMerge: boolean;
  /** Nodes that it dominates immediately, in reverse postorder. */
  readonly children: StructuredNode[];
  /** Budget units on the longest way from here to the next loop header or exit, this block included. */
  longest: number;
}

/** An edge of the structure. */
export type StructuredEdge =
  | { readonly kind: "forward" | "back"; readonly to: StructuredNode }
  | { readonly kind: "exit"; readonly place: number };

/** Orders a region; gives its head. */
export function structure(region: Region): StructuredNode {
  const head = region.nodes[0]!;
  for (;;) {
    const order = reversePostorder(head);
    const dominators = immediateDominators(order);
    if (cutIrreducible(order, dominators)) continue;
    return build(order, dominators);
  }
}

const successors = (node: RegionNode): RegionNode[] =>
  node.edges.flatMap((edge) => (edge.kind === "node" ? [edge.node] : []));

function reversePostorder(head: RegionNode): RegionNode[] {
  const seen = new Set([head]);
  const finished: RegionNode[] = [];
  const stack: { readonly node: RegionNode; readonly rest: RegionNode[] }[] = [
    { node: head, rest: successors(head) },
  ];
  while (stack.length > 0) {
    const { node, rest } = stack[stack.length - 1]!;
    const next = rest.pop();
    if (next === undefined) {
      finished.push(node);
      stack.pop();
    } else if (!seen.has(next)) {
      seen.add(next);
      stack.push({ node: next, rest: successors(next) });
    }
  }
  return finished.reverse();
}

/** For each position in `order`, that of its immediate dominator. */
function immediateDominators(order: readonly RegionNode[]): Int32Array {
  const position = new Map(order.map((node, index) => [node, index]));
  const predecessors: number[][] = order.map(() => []);
  order.forEach((node, index) => {
    for (const next of successors(node)) predecessors[position.get(next)!]!.push(index);
  });
  const dominators = new Int32Array(order.length).fill(-1);
  dominators[0] = 0;
  const intersect = (a: number, b: number): number => {
    let [x, y] = [a, b];
    while (x !== y) {
      while (x > y) x = dominators[x]!;
      while (y > x) y = dominators[y]!;
    }
    return x;
  };
  for (let changed = true; changed; ) {
    changed = false;
    for (let index = 1; index < order.length; index++) {
      const known = predecessors[index]!.filter((from) => dominators[from] !== -1);
      const dominator = known.reduce(intersect);
      if (dominators[index] !== dominator) {
        dominators[index] = dominator;
        changed = true;
      }
    }
  }
  return dominators;
}

const dominates = (dominators: Int32Array, a: number, b: number): boolean => {
  let at = b;
  while (at > a) at = dominators[at]!;
  return at === a;
};

/** Makes exits of the edges that go back to blocks that don't dominate them. True if there were any. */
function cutIrreducible(order: readonly RegionNode[], dominators: Int32Array): boolean {
  const position = new Map(order.map((node, index) => [node, index]));
  let cut = false;
  order.forEach((node, index) => {
    node.edges = node.edges.map((edge): Edge => {
      if (edge.kind === "exit") return edge;
      const to = position.get(edge.node)!;
      if (to > index || dominates(dominators, to, index)) return edge;
      cut = true;
      return { kind: "exit", place: edge.node.place };
    });
  });
  return cut;
}

function build(order: readonly RegionNode[], dominators: Int32Array): StructuredNode {
  const position = new Map(order.map((node, index) => [node, index]));
  const edges = order.map((): StructuredEdge[] => []);
  const nodes = order.map(
    (node, index): StructuredNode => ({
      node,
      order: index,
      edges: edges[index]!,
      isLoop: false,
      isMerge: false,
      children: [],
      longest: 0,
    }),
  );
  const entered = new Int32Array(order.length);
  order.forEach((node, index) => {
    for (const edge of node.edges) {
      if (edge.kind === "exit") edges[index]!.push(edge);
      else {
        const to = nodes[position.get(edge.node)!]!;
        const kind = to.order > index ? "forward" : "back";
        edges[index]!.push({ kind, to });
        if (kind === "back") to.isLoop = true;
        else if (entered[to.order]!++ > 0) to.isMerge = true;
      }
    }
  });
  for (let index = nodes.length - 1; index >= 0; index--) {
    const node = nodes[index]!;
    if (index > 0) nodes[dominators[index]!]!.children.unshift(node);
    const beyond = node.edges.map((edge) =>
      edge.kind === "forward" && !edge.to.isLoop ? edge.to.longest : 0,
    );
    node.longest = mostOf(node.node.block) + Math.max(0, ...beyond);
  }
  return nodes[0]!;
}
