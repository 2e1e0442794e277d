/**
 * Optimised blocks by where they are, since regions overlap: a loop is in the region of its own head and in that of
 * the loop around it. A block depends on nothing but its instructions, and those are compared, so that changed code
 * is never mistaken for what stood there before.
 */
import type { Block, GuestInsn } from "@hyperfile/decoder";
import { type BlockTranslation, translateBlock } from "./translate-block.js";

/** Most blocks that are kept, some 5 KiB each. */
const CAPACITY = 1024;

interface CachedBlock {
  readonly insns: readonly GuestInsn[];
  readonly block: Block;
}

/** A cache of optimised blocks. */
export class BlockCache {
  private readonly blocks = new Map<number, CachedBlock[]>();
  private size = 0;

  constructor(private readonly translation: BlockTranslation) {}

  /** The optimised block of `insns`; `at` tells blocks apart that are not the same code. */
  of(at: number, insns: readonly GuestInsn[]): Block {
    let here = this.blocks.get(at);
    const known = here?.find((cached) => isSame(cached.insns, insns));
    if (known !== undefined) return known.block;
    if (this.size >= CAPACITY) {
      this.blocks.clear();
      this.size = 0;
      here = undefined;
    }
    const block = translateBlock(this.translation, insns, `the block of the frame at ${at}`);
    if (here === undefined) {
      here = [];
      this.blocks.set(at, here);
    }
    here.push({ insns, block });
    this.size++;
    return block;
  }
}

const isSame = (a: readonly GuestInsn[], b: readonly GuestInsn[]): boolean =>
  a.length === b.length && a.every((insn, position) => isSameInsn(insn, b[position]!));

function isSameInsn(a: GuestInsn, b: GuestInsn): boolean {
  if (a === b) return true;
  if (a.opcode !== b.opcode || a.length !== b.length) return false;
  return Object.keys(a.fields).every((name) => a.fields[name] === b.fields[name]);
}
