/**
 * Structure and walk are right if the code that is printed along them goes the graph's ways: random graphs are compiled
 * to WebAssembly and to JavaScript and walked side by side, with budgets that end anywhere.
 */
import { type Block, BlockBuilder, stateShape } from "@hyperfile/decoder";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { evaluate, runtimeBindings } from "../backend/js/bindings.js";
import { emitJsRegion } from "../backend/js/region.js";
import { ModuleWriter } from "../backend/wasm/encoder.js";
import { emitWasmRegion } from "../backend/wasm/region.js";
import { WasmRuntime } from "../backend/wasm/runtime.js";
import { HART_STRIDE, header, STATE_OFFSET } from "../memory/layout.js";
import { LinearMemory } from "../memory/linear-memory.js";
import type { RegionContext } from "./emission.js";
import type { RegionNode } from "./graph.js";
import { type StructuredNode, structure } from "./structure.js";

const shape = stateShape([
  { name: "x", type: "i64", length: 1 },
  { name: "pc", type: "i64", length: 1 },
]);
const root = { caller: undefined, returnTo: -1, callee: -1, depth: 0 };
/** Places of nodes and of exits. */
const STEP = 32;
const EXITS = 0x800;
const PAGE = 0x40000000;
const FACTOR = 0x5851f42d4c957f2dn;

/** A node: instructions, and targets below the number of nodes, or exits above. */
interface NodePlan {
  readonly length: number;
  readonly targets: readonly number[];
}

const plans = (most: number): fc.Arbitrary<NodePlan[]> =>
  fc.integer({ min: 1, max: most }).chain((count) =>
    fc.array(
      fc.record({
        length: fc.integer({ min: 1, max: 4 }),
        targets: fc.array(fc.nat(count + Math.ceil(count / 5)), { minLength: 1, maxLength: 2 }),
      }),
      { minLength: count, maxLength: count },
    ),
  );

const placeOf = (target: number, count: number): number =>
  target < count ? target * STEP : EXITS + (target - count) * STEP;

/** A node's effect on the register: a step of a generator that is different for each node. */
const stepOf = (index: number, x: bigint): bigint => BigInt.asUintN(64, x * FACTOR + BigInt(2 * index + 1));
/** Which way the branch goes. */
const isTaken = (x: bigint): boolean => ((x >> 47n) & 3n) !== 0n;

function blockOf(index: number, { length, targets }: NodePlan, count: number): Block {
  const builder = new BlockBuilder(shape, "i64");
  for (let at = 0; at < length; at++) builder.insn(at * 4, 4);
  const product = builder.binary(
    "mul",
    builder.get("x"),
    builder.const64(Number(FACTOR & 0xffffffffn) | 0, Number(FACTOR >> 32n)),
  );
  const x = builder.binary("add", product, builder.const64(2 * index + 1));
  builder.set("x", 0, x);
  const distances = targets.map((target) => placeOf(target, count) - index * STEP);
  if (distances.length === 1) builder.jump(distances[0]!);
  else {
    const bits = builder.binary("and", builder.shift("shru", x, builder.const32(47)), builder.const64(3));
    builder.branch(builder.compare("ne", bits, builder.const64(0)), distances[0]!, distances[1]!);
  }
  return builder.finish();
}

function nodesOf(plan: readonly NodePlan[]): RegionNode[] {
  const nodes = plan.map(
    (each, index): RegionNode => ({
      place: index * STEP,
      block: blockOf(index, each, plan.length),
      length: each.length * 4,
      context: root,
      edges: [],
    }),
  );
  nodes.forEach((node, index) => {
    node.edges = plan[index]!.targets.map((target) => {
      const to = nodes[target];
      return to === undefined
        ? { kind: "exit", place: placeOf(target, plan.length) }
        : { kind: "node", node: to };
    });
  });
  return nodes;
}

/** Whether every way from node 0 to `to` goes through `through`; by the definition. */
function dominates(plan: readonly NodePlan[], through: number, to: number): boolean {
  const seen = new Set<number>();
  const visit = (index: number): void => {
    if (index === through || seen.has(index) || index >= plan.length) return;
    seen.add(index);
    plan[index]!.targets.forEach(visit);
  };
  visit(0);
  return !seen.has(to);
}

const memory = LinearMemory.create({ bytes: HART_STRIDE });
const xWord = (STATE_OFFSET + shape.slots.get("x")!.offset) >> 2;
const pcWord = (STATE_OFFSET + shape.slots.get("pc")!.offset) >> 2;

const context: RegionContext = {
  shape,
  hartOffset: 0,
  wideAddresses: true,
  alignment: 2,
  flagsOffset: undefined,
  pages: new Map([[0, 0]]),
};

/** The backends: each makes a region a function. */
const backends = {
  wasm: (head: StructuredNode): (() => void) => {
    const module = new ModuleWriter();
    emitWasmRegion(module, "region", head, context);
    return new WasmRuntime(memory, {}).instantiate(module).region as () => void;
  },
  js: (head: StructuredNode): (() => void) => {
    const bindings = { ...runtimeBindings(memory, header.resultHigh >> 2, undefined), jump: () => null };
    return evaluate(emitJsRegion(head, context), bindings) as () => void;
  },
} as const;
type Backend = keyof typeof backends;

/** Compiles a structured graph. The function runs it, and gives where it left, the budget then, and the register. */
function compile(backend: Backend, head: StructuredNode) {
  const call = backends[backend](head);
  return (x: bigint, budget: number) => {
    const { i32 } = memory;
    const wide = new BigUint64Array(memory.buffer);
    wide[xWord >> 1] = x;
    i32[pcWord] = PAGE;
    i32[pcWord + 1] = 0;
    i32[header.budget >> 2] = budget;
    call();
    return { place: i32[pcWord]! - PAGE, left: i32[header.budget >> 2]!, x: wide[xWord >> 1]! };
  };
}

const everyNode = (at: StructuredNode): StructuredNode[] => [at, ...at.children.flatMap(everyNode)];

/** Walks the graph beside a run of its code, and checks that the run stopped for a reason. */
function compare(backend: Backend, plan: readonly NodePlan[], x: bigint, budget: number): void {
  const head = structure({ nodes: nodesOf(plan), instructions: 0 });
  const byPlace = new Map(everyNode(head).map((node) => [node.node.place, node]));
  const result = compile(backend, head)(x, budget);
  const used = budget - result.left;
  expect(used).toBeGreaterThanOrEqual(0);
  let [at, value, spent, from] = [0, x, 0, -1];
  while (spent < used) {
    const { length, targets } = plan[at]!;
    value = stepOf(at, value);
    spent += length;
    from = at;
    at = targets[targets.length === 1 || isTaken(value) ? 0 : 1]!;
    if (at >= plan.length) break;
  }
  expect([placeOf(at, plan.length), value, spent]).toEqual([result.place, result.x, used]);
  if (at >= plan.length) return;
  const node = byPlace.get(result.place)!;
  const checked = from < 0 || node.isLoop;
  const cut =
    from >= 0 &&
    !dominates(plan, at, from) &&
    byPlace.get(from * STEP)!.edges.some((e) => e.kind === "exit" && e.place === result.place);
  // In the middle of the graph a run ends where the budget is checked and does not last, or where there is no loop.
  expect((checked && result.left < node.longest) || cut).toBe(true);
}

const word = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });

describe("structured graphs", () => {
  it.each(["wasm", "js"] as const)("run like the graph in %s, for any budget", (backend) => {
    fc.assert(
      fc.property(plans(14), word, fc.nat(400), (plan, x, budget) => compare(backend, plan, x, budget)),
      { numRuns: 500 },
    );
  });

  it.each(["wasm", "js"] as const)("of many blocks run like the graph in %s", (backend) => {
    fc.assert(
      fc.property(plans(60), word, fc.nat(4000), (plan, x, budget) => compare(backend, plan, x, budget)),
      { numRuns: 60 },
    );
  });

  it("have the longest way to the next check at every node, and checks in every cycle", () => {
    fc.assert(
      fc.property(plans(20), (plan) => {
        const head = structure({ nodes: nodesOf(plan), instructions: 0 });
        const nodes = everyNode(head);
        expect(new Set(nodes).size).toBe(nodes.length);
        // By the definition; a cycle without a loop header would not end.
        const longest = (node: StructuredNode, visited: readonly StructuredNode[]): number => {
          expect(visited).not.toContain(node);
          const ways = node.edges.map((edge) =>
            edge.kind === "exit" || edge.to.isLoop ? 0 : longest(edge.to, [...visited, node]),
          );
          return node.node.block.instructions + Math.max(...ways);
        };
        for (const node of nodes) {
          if (nodes.length < 15) expect(node.longest).toBe(longest(node, []));
          for (const edge of node.edges) {
            if (edge.kind === "exit") continue;
            expect(edge.kind === "back").toBe(edge.to.order <= node.order);
            if (edge.kind === "back") expect(edge.to.isLoop).toBe(true);
          }
          const forward = nodes.flatMap(({ edges }) =>
            edges.filter((edge) => edge.kind === "forward" && edge.to === node),
          );
          expect(node.isMerge).toBe(forward.length > 1);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("keep every edge of a graph whose loops have one entry each", () => {
    fc.assert(
      fc.property(plans(20), (plan) => {
        const head = structure({ nodes: nodesOf(plan), instructions: 0 });
        for (const { node, edges } of everyNode(head)) {
          const from = node.place / STEP;
          plan[from]!.targets.forEach((target, index) => {
            const cut = target < plan.length && edges[index]!.kind === "exit";
            if (cut) expect(dominates(plan, target, from)).toBe(false);
          });
        }
      }),
      { numRuns: 300 },
    );
  });
});
