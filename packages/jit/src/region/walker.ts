/**
 * Walks a structured region and tells a backend what to print (`structure.ts` has the literature). A node is printed
 * once, inside its loop if it is the header of one, and followed by the merge points that it dominates:
 *
 *   openLoop(a)                        a loop: jumps back to `a` go to its beginning
 *     openMerge(m)                     a block whose end is where `m` begins: jumps forward to `m` leave it
 *       block(a)                       the operations of `a`; at their end, where it goes on:
 *         branchTo(.., to m)             - a jump, which may hang on a condition
 *         block(b)                       - or the next node, in place
 *     closeMerge()
 *     block(m) ...
 *   closeLoop()
 *
 * A jump names a node that is open. A node may be both header and merge point: jumps forward to it are printed before
 * its merge point is closed, jumps back after its loop is opened, so that one label for each node is enough.
 */
import type { Operation, Value } from "@hyperfile/decoder";
import type { RegionContext } from "./emission.js";
import { fixedTarget, knownTarget, type Place } from "./graph.js";
import type { StructuredEdge, StructuredNode } from "./structure.js";

/** What a backend prints. `V` is what it knows of the values of a block at its end. */
export interface RegionEmitter<V> {
  /**
   * Whether an exit on one way of a branch is printed under the condition, as a jump is, and not as an arm of its own.
   */
  readonly exitsAreJumps: boolean;
  /** Begins a loop with its check of the budget. */
  openLoop(header: StructuredNode): void;
  closeLoop(): void;
  /** Begins a block at whose end a merge point follows. */
  openMerge(merge: StructuredNode): void;
  closeMerge(): void;
  /** Prints a node's block; `end` is called at its exit. */
  block(at: StructuredNode, end: (exit: Operation, values: V, isLate: boolean) => void): void;
  /** Goes along an edge: jumps to a node that is open, or leaves the region. */
  go(edge: StructuredEdge): void;
  /** The same if a condition holds, or if it does not. */
  goIf(values: V, condition: Value, holds: boolean, edge: StructuredEdge): void;
  /** Begins what runs if a condition holds; what runs else; and ends both. */
  openIf(values: V, condition: Value): void;
  openElse(): void;
  closeIf(): void;
  /**
   * If the last instruction left a note to leave after it, leaves.
   * @param places where the guest goes on; the second one if `condition` does not hold
   */
  leaveLate(values: V, places: readonly [Place, Place?], condition?: Value): void;
  /**
   * Leaves for the address that a value is.
   * @param isLate whether the last instruction may have left a note
   * @param expected if the address is that of this place, what is printed next runs instead
   */
  indirect(values: V, address: Value, isLate: boolean, expected: Place | undefined): void;
  /** Leaves after a trap, or a helper that said so: both have seen to budget and program counter. */
  bail(values: V, isLate: boolean): void;
}

/** Prints the nodes of a region. */
export function walkRegion<V>(head: StructuredNode, context: RegionContext, emitter: RegionEmitter<V>): void {
  new Walker(context, emitter).tree(head);
}

/** Where an edge leads. */
const placeOf = (edge: StructuredEdge): Place => (edge.kind === "exit" ? edge.place : edge.to.node.place);

class Walker<V> {
  constructor(
    private readonly context: RegionContext,
    private readonly emitter: RegionEmitter<V>,
  ) {}

  /** A node and everything that it dominates. */
  tree(at: StructuredNode): void {
    const merges = at.children.filter((child) => child.isMerge).reverse();
    if (at.isLoop) this.emitter.openLoop(at);
    this.within(at, merges);
    if (at.isLoop) this.emitter.closeLoop();
  }

  /** A node's block inside one block for each merge point that it dominates; the points follow. */
  private within(at: StructuredNode, merges: readonly StructuredNode[]): void {
    const [merge, ...rest] = merges;
    if (merge === undefined) {
      this.emitter.block(at, (exit, values, isLate) => this.end(at, exit, values, isLate));
      return;
    }
    this.emitter.openMerge(merge);
    this.within(at, rest);
    this.emitter.closeMerge();
    this.tree(merge);
  }

  private isJump(edge: StructuredEdge): boolean {
    if (edge.kind === "exit") return this.emitter.exitsAreJumps;
    return edge.kind === "back" || edge.to.isMerge;
  }

  private edge(edge: StructuredEdge): void {
    if (edge.kind === "exit" || this.isJump(edge)) this.emitter.go(edge);
    else this.tree(edge.to);
  }

  /** Whether an exit goes to one place, which is known. */
  private isFixed(at: StructuredNode, exit: Operation): boolean {
    const { alignment, pageAddress } = this.context;
    const { block } = at.node;
    return (
      exit.op === "jump" ||
      fixedTarget(block, exit, alignment) !== undefined ||
      (pageAddress !== undefined && knownTarget(block, exit, alignment) !== undefined)
    );
  }

  private end(at: StructuredNode, exit: Operation, values: V, isLate: boolean): void {
    const { emitter } = this;
    const [first, second] = at.edges;
    const [value] = exit.args;
    if (this.isFixed(at, exit)) {
      if (isLate) emitter.leaveLate(values, [placeOf(first!)]);
      this.edge(first!);
    } else if (exit.op === "branch") {
      if (isLate) emitter.leaveLate(values, [placeOf(first!), placeOf(second!)], value!);
      this.branch(values, value!, first!, second!);
    } else if (exit.op === "jumpr") {
      emitter.indirect(values, value!, isLate, first === undefined ? undefined : placeOf(first));
      if (first !== undefined) this.edge(first);
    } else emitter.bail(values, isLate);
  }

  private branch(values: V, condition: Value, taken: StructuredEdge, notTaken: StructuredEdge): void {
    const { emitter } = this;
    if (this.isJump(taken)) {
      emitter.goIf(values, condition, true, taken);
      this.edge(notTaken);
    } else if (this.isJump(notTaken)) {
      emitter.goIf(values, condition, false, notTaken);
      this.edge(taken);
    } else {
      emitter.openIf(values, condition);
      this.edge(taken);
      emitter.openElse();
      this.edge(notTaken);
      emitter.closeIf();
    }
  }
}
