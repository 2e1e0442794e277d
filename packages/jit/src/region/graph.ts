/**
 * Region formation: from the head of hot code to a control-flow graph of the blocks that will be compiled together.
 *
 * The graph follows jumps, branches, fall-throughs and calls as far as the code has run: an entry that was never
 * decoded is never included. A call's target is a copy of the callee for this call (`context`), so that a return to
 * the expected address is an edge like any other and only has to be confirmed. What lies outside is an exit.
 *
 * A call is recognised without knowing the CPU: its exit says where the callee returns to, or the block writes the
 * address after itself to a slot and jumps. A jump to a known address is followed where guest addresses have 32 bits;
 * the region is then bound to the address that its code was found at.
 */
import { alignmentOf, type Block, type FrontEnd, type GuestInsn, type Operation } from "@hyperfile/decoder";
import { PAGE_SIZE } from "../memory/layout.js";

/** A place in guest code: bytes from the start of the page in which the region's head lies. */
export type Place = number;

/** Where control goes from a node. */
export type Edge =
  | { readonly kind: "node"; readonly node: RegionNode }
  | { readonly kind: "exit"; readonly place: Place };

/** A block of the region in one context. */
export interface RegionNode {
  readonly place: Place;
  readonly block: Block;
  /** Bytes from the node's place to the block's end. */
  readonly length: number;
  readonly context: Context;
  /**
   * Successors: of a jump one, of a branch taken and not taken, of an indirect jump the expected return if there is
   * one, of anything else none.
   */
  edges: Edge[];
}

/** The calls through which a copy of code is reached. */
export interface Context {
  readonly caller: Context | undefined;
  /** Where the callee returns to. */
  readonly returnTo: Place;
  /** First place of the callee. */
  readonly callee: Place;
  readonly depth: number;
}

/** Guest code as the formation sees it. */
export interface CodeView {
  readonly frontEnd: FrontEnd;
  /** Guest-virtual address of the page in which the region's head lies, if addresses have 32 bits. */
  readonly pageAddress?: number;
  /** Whether the instruction at `place` has run; false where the page is not known. */
  hasRun(place: Place): boolean;
  /** How often a jump or a branch has arrived at `place` while it was counted. */
  arrivals(place: Place): number;
  /** The instruction at `place`; undefined if part of it lies in a page that is not known. */
  insnAt(place: Place): GuestInsn | undefined;
  /** The optimised block of `insns`, which begin at `place`. */
  blockOf(place: Place, insns: readonly GuestInsn[]): Block;
}

/** Limits of a region. */
export interface RegionLimits {
  readonly blocks: number;
  readonly instructions: number;
  /**
   * The same for blocks that go on where one before ended for its length alone. Unrolled loops (SHA-512 in OpenSSL: 1,800
   * instructions) are worth nothing in pieces, whose registers are all read and written where one piece ends.
   */
  readonly straightInstructions: number;
  readonly blockInstructions: number;
  readonly callDepth: number;
  /**
   * Least share of the head's arrivals that a block must have to be included. With 0 all that has run is: code that
   * is compiled ahead costs space only. Where the host compiles by what it has seen run, code that is seldom reached
   * makes it start again.
   */
  readonly share: number;
}

/** Limits that measured well. */
export const DEFAULT_LIMITS: RegionLimits = {
  blocks: 40,
  instructions: 300,
  straightInstructions: 2400,
  blockInstructions: 64,
  callDepth: 3,
  share: 0,
};

/**
 * Limits of regions in JavaScript: V8 compiles large functions for long, once more each time that a part runs which
 * had not run before, and meanwhile runs them in its interpreter.
 */
export const JS_LIMITS: RegionLimits = {
  ...DEFAULT_LIMITS,
  instructions: 80,
  straightInstructions: 80,
  share: 1 / 50,
};

/** A region: nodes in the order in which they were found, the head first. */
export interface Region {
  readonly nodes: readonly RegionNode[];
  readonly instructions: number;
  /** Whether it runs only where its code was found: jumps to known addresses were followed. */
  readonly isBound?: boolean;
}

const root: Context = { caller: undefined, returnTo: -1, callee: -1, depth: 0 };

/** What a block does at its end, in places. */
interface Ending {
  readonly kind: "jump" | "branch" | "indirect" | "other";
  readonly targets: readonly Place[];
  /** Place after a call. */
  readonly link: Place | undefined;
  /** Of an indirect jump: the address that it goes to, where that is known. */
  readonly address?: number | undefined;
}

/** Forms the region of the code at `head`; undefined if there is nothing to compile. */
export function formRegion(view: CodeView, head: Place, limits: RegionLimits): Region | undefined {
  return new Formation(view, limits).form(head);
}

interface Leader {
  readonly place: Place;
  readonly context: Context;
}

/** Where control can go: a leader, and about how often it does. */
interface Successor extends Leader {
  readonly flow: number;
}

class Formation {
  private readonly leaders = new Map<Context, Map<Place, Leader>>();
  private readonly queue: Successor[] = [];
  private readonly contexts: Context[] = [root];
  private readonly stretches = new Map<Place, readonly GuestInsn[]>();
  /** What instructions that end blocks do, by where they begin. */
  private readonly endings = new Map<Place, Ending>();
  private instructions = 0;
  private blocks = 0;
  private isBound = false;
  /** Least flow of a block that is included. */
  private least = 0;

  constructor(
    private readonly view: CodeView,
    private readonly limits: RegionLimits,
  ) {}

  form(head: Place): Region | undefined {
    if (this.read(head).length === 0) return undefined;
    const flow = Math.max(1, this.view.arrivals(head));
    this.least = flow * this.limits.share;
    this.visit({ place: head, context: root, flow });
    while (this.queue.length > 0) this.explore(this.queue.shift()!);
    return this.build();
  }

  /** Makes a place the start of a block, if the limits allow. */
  private visit(successor: Successor, isContinued = false): void {
    const { place, context, flow } = successor;
    const { blocks, instructions, straightInstructions } = this.limits;
    const known = this.leadersOf(context);
    if (known.has(place) || this.blocks >= blocks || flow < this.least) return;
    const most = isContinued ? straightInstructions : instructions;
    const isFull = this.instructions >= most && !this.closesLoop(place, known);
    if (this.blocks > 0 && (isFull || !this.view.hasRun(place))) return;
    known.set(place, { place, context });
    this.blocks++;
    this.queue.push(successor);
  }

  /** Whether at a place there is but a jump to a block of the region: the end of a loop too long for a branch. */
  private closesLoop(place: Place, known: ReadonlyMap<Place, Leader>): boolean {
    const insns = this.read(place);
    if (insns.length !== 1) return false;
    const { kind, targets, link } = this.endingOf(place, insns);
    return kind === "jump" && link === undefined && known.has(targets[0]!);
  }

  private leadersOf(context: Context): Map<Place, Leader> {
    let known = this.leaders.get(context);
    if (known === undefined) {
      known = new Map();
      this.leaders.set(context, known);
    }
    return known;
  }

  private explore({ place, context, flow }: Successor): void {
    const insns = this.read(place);
    if (insns.length === 0) return;
    this.instructions += insns.length;
    const ending = this.endingOf(place, insns);
    const isContinued = !this.view.frontEnd.endsBlock(insns[insns.length - 1]!);
    for (const successor of this.successors(ending, context)) {
      const arrivals = this.view.arrivals(successor.place);
      // A block that ends at a limit goes on where nothing is counted.
      const reached = ending.kind === "jump" ? Math.max(flow, arrivals) : arrivals;
      this.visit({ ...successor, flow: reached }, isContinued);
    }
  }

  /** What the block of `insns` does at its end: asked of its last instruction alone where that knows. */
  private endingOf(place: Place, insns: readonly GuestInsn[]): Ending {
    const { frontEnd } = this.view;
    const last = insns[insns.length - 1]!;
    const end = place + lengthOf(insns);
    if (!frontEnd.endsBlock(last)) return { kind: "jump", targets: [end], link: undefined };
    // Of two instructions that end at one place, one may begin inside the other.
    const begin = end - last.length;
    const known = this.endings.get(begin);
    if (known !== undefined) return known;
    const alone = this.located(moved(endingAlone(frontEnd, last), begin));
    if (alone.kind === "indirect")
      return this.located(endingOf(this.view.blockOf(place, insns), place, frontEnd));
    this.endings.set(begin, alone);
    return alone;
  }

  /** The ending, as a jump to a place if it is one to a known address. */
  private located(ending: Ending): Ending {
    const { pageAddress } = this.view;
    if (ending.address === undefined || pageAddress === undefined) return ending;
    this.isBound = true;
    return { kind: "jump", targets: [(ending.address - pageAddress) | 0], link: ending.link };
  }

  /** Instructions from `place` to the end of its block or of its page; the last one may end in the next page. */
  private read(place: Place): readonly GuestInsn[] {
    const known = this.stretches.get(place);
    if (known !== undefined) return known;
    const { view, limits } = this;
    const insns: GuestInsn[] = [];
    const page = Math.floor(place / PAGE_SIZE);
    for (let at = place; insns.length < limits.blockInstructions; ) {
      if (Math.floor(at / PAGE_SIZE) !== page) break;
      const insn = view.insnAt(at);
      if (insn === undefined) break;
      insns.push(insn);
      at += insn.length;
      if (view.frontEnd.endsBlock(insn)) break;
    }
    this.stretches.set(place, insns);
    return insns;
  }

  /** The first of the instructions from `place` on, up to where another block begins. */
  private readUpTo(place: Place, leaders: ReadonlyMap<Place, Leader>): readonly GuestInsn[] {
    const insns = this.read(place);
    let at = place;
    const cut = insns.findIndex((insn) => {
      const begins = at !== place && leaders.has(at);
      at += insn.length;
      return begins;
    });
    return cut < 0 ? insns : insns.slice(0, cut);
  }

  /** Where control can go, with the context it arrives in. */
  private successors(ending: Ending, context: Context): Leader[] {
    switch (ending.kind) {
      case "jump": {
        const [target] = ending.targets as readonly [Place];
        if (ending.link === undefined) return [{ place: target, context }];
        const inner = this.enter(context, target, ending.link);
        return inner === undefined ? [] : [{ place: target, context: inner }];
      }
      case "branch":
        return ending.targets.map((target) => ({ place: target, context }));
      case "indirect":
        if (ending.link !== undefined || context.caller === undefined) return [];
        return [{ place: context.returnTo, context: context.caller }];
      default:
        return [];
    }
  }

  /** The context of a callee; undefined if it is recursive or too deep. */
  private enter(caller: Context, callee: Place, returnTo: Place): Context | undefined {
    if (caller.depth >= this.limits.callDepth) return undefined;
    for (let outer: Context | undefined = caller; outer !== undefined; outer = outer.caller) {
      if (outer.callee === callee) return undefined;
    }
    const known = this.contexts.find(
      (context) => context.caller === caller && context.callee === callee && context.returnTo === returnTo,
    );
    if (known !== undefined) return known;
    const context = { caller, callee, returnTo, depth: caller.depth + 1 };
    this.contexts.push(context);
    return context;
  }

  private build(): Region {
    const nodes = new Map<Leader, RegionNode>();
    const endings: Ending[] = [];
    let instructions = 0;
    for (const [context, known] of this.leaders) {
      for (const leader of known.values()) {
        const { place } = leader;
        const insns = this.readUpTo(place, known);
        if (insns.length === 0) continue;
        const block = this.view.blockOf(place, insns);
        instructions += insns.length;
        nodes.set(leader, { place, block, length: lengthOf(insns), context, edges: [] });
        endings.push(this.endingOf(place, insns));
      }
    }
    for (const [index, node] of [...nodes.values()].entries()) {
      const ending = endings[index]!;
      const wanted = this.successors(ending, node.context);
      const edgeTo = ({ place, context }: Leader): Edge => {
        const leader = this.leaders.get(context)?.get(place);
        const target = leader === undefined ? undefined : nodes.get(leader);
        return target === undefined ? { kind: "exit", place } : { kind: "node", node: target };
      };
      node.edges = wanted.map(edgeTo);
      // A call that is not followed is an exit to the callee; an unexpected return is found by its address.
      if (ending.kind === "jump" && wanted.length === 0)
        node.edges = [{ kind: "exit", place: ending.targets[0]! }];
      if (ending.kind === "indirect" && node.edges[0]?.kind === "exit") node.edges = [];
    }
    return { nodes: [...nodes.values()], instructions, isBound: this.isBound };
  }
}

/** Distances of the pages in which a node's instructions lie: the last one may end in the next page. */
export function pagesOf({ place, length }: RegionNode): number[] {
  const first = Math.floor(place / PAGE_SIZE);
  const last = Math.floor((place + length - 1) / PAGE_SIZE);
  return first === last ? [first] : [first, last];
}

/** Bytes of instructions that follow each other. */
function lengthOf(insns: readonly GuestInsn[]): number {
  let length = 0;
  for (const insn of insns) length += insn.length;
  return length;
}

/** Endings of single instructions at place 0; front ends give the same object for the same bits again and again. */
const aloneEndings = new WeakMap<GuestInsn, Ending>();

function endingAlone(frontEnd: FrontEnd, insn: GuestInsn): Ending {
  let ending = aloneEndings.get(insn);
  if (ending === undefined) {
    ending = endingOf(frontEnd.translate([insn]), 0, frontEnd);
    aloneEndings.set(insn, ending);
  }
  return ending;
}

/** The ending of the same instruction at another place. */
const moved = ({ kind, targets, link, address }: Ending, by: Place): Ending => ({
  kind,
  address,
  targets: targets.map((target) => target + by),
  link: link === undefined ? undefined : link + by,
});

/** The place a block's indirect jump goes to, where that is a fixed distance from the block. */
export function fixedTarget(block: Block, exit: Operation, alignment: number): number | undefined {
  if (exit.op !== "jumpr") return undefined;
  let target = block.operations[exit.args[0]!]!;
  if (target.op === "and" && alignment > 1) {
    // The lowest bit of a jump target is cleared where instructions are aligned to half-words: it is 0 anyway.
    const mask = block.operations[target.args[1]!]!;
    const low = typeof mask.constant === "object" ? mask.constant.lo : mask.constant;
    if (mask.op !== "const" || low !== -2) return undefined;
    target = block.operations[target.args[0]!]!;
  }
  if (target.op !== "pc") return undefined;
  const distance = target.constant as number;
  return distance % alignment === 0 ? distance : undefined;
}

/** The address a block's indirect jump goes to, where that is an aligned constant of 32 bits. */
export function knownTarget(block: Block, exit: Operation, alignment: number): number | undefined {
  if (exit.op !== "jumpr") return undefined;
  const { op, constant } = block.operations[exit.args[0]!]!;
  return op === "const" && typeof constant === "number" && constant % alignment === 0 ? constant : undefined;
}

function endingOf(block: Block, place: Place, frontEnd: FrontEnd): Ending {
  const exit = block.operations[block.operations.length - 1]!;
  const isLink = (operation: Operation) => {
    if (operation.op !== "set" || operation.slot === "pc") return false;
    const value = block.operations[operation.args[0]!]!;
    return value.op === "pc" && value.constant === block.bytes;
  };
  const distance = exit.link ?? (block.operations.some(isLink) ? block.bytes : undefined);
  const link = distance === undefined ? undefined : place + distance;
  const targets = (exit.targets ?? []).map((distance) => place + (distance as number));
  if (exit.op === "jump") return { kind: "jump", targets, link };
  if (exit.op === "branch") return { kind: "branch", targets, link: undefined };
  if (exit.op !== "jumpr") return { kind: "other", targets: [], link: undefined };
  const fixed = fixedTarget(block, exit, alignmentOf(frontEnd));
  if (fixed !== undefined) return { kind: "jump", targets: [place + fixed], link };
  return { kind: "indirect", targets: [], link, address: knownTarget(block, exit, alignmentOf(frontEnd)) };
}
