/**
 * Trains the interpreter before it is used. V8 optimises by what it has seen: a handler that has never run, or a
 * slow path that was never taken, makes the optimised interpreter give up ("insufficient type feedback") and crawl
 * until it is optimised again, dozens of times in the boot of a kernel. So every handler runs here first, on values
 * of every kind, through TLB hits and misses, with branches taken and not taken.
 *
 * It runs on the real memory at the lowest virtual page, which stands for a scratch page in the hart's block, and
 * leaves hart state, TLBs and counters dirty: the CPU is reset afterwards.
 */
import type { GuestInsn } from "@hyperfile/decoder";
import type { EntryFormat } from "../entry-format.js";

/** What training needs of the engine. */
export interface TrainingGround {
  readonly words: Int32Array;
  /** Word range of the guest's slots. */
  readonly stateFrom: number;
  readonly stateTo: number;
  readonly budgetWord: number;
  readonly exitWord: number;
  /** Word index of the program counter slot; `wide` if it has a high half. */
  readonly pcWord: number;
  readonly wide: boolean;
  /** First entry of the scratch code page, and log2 of its words per byte. */
  readonly baseWord: number;
  readonly scale: number;
  /** Makes the lowest virtual page readable, writable and executable on scratch memory. */
  readonly map: () => void;
  readonly interpret: (hot: number, scratch: number) => number;
}

/** Rounds before training proper: V8 allocates a function's feedback only once it has run for a while. */
const WARM_UP_ROUNDS = 600;
const ROUNDS = 24;
const PC = 0x100;
/** Multiples of 8 in the lower half of the page: with small immediates, aligned addresses that hit. */
const ADDRESS_MASK = 0x7f8;
const NEVER = 0x7fffffff;

/** Runs all of `formats` that the loop handles itself. */
export function trainInterpreter(ground: TrainingGround, formats: readonly EntryFormat[]): void {
  let seed = 0x2545f491;
  const random = (): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return seed;
  };
  const { words } = ground;
  const runOne = (format: EntryFormat, round: number): void => {
    for (let word = ground.stateFrom; word < ground.stateTo; word += 2) {
      const kind = (random() >>> 8) % 3;
      const small = round % 2 === 0;
      words[word] = small
        ? random() & ADDRESS_MASK
        : kind === 0
          ? random()
          : kind === 1
            ? random() >> 27
            : -1;
      words[word + 1] = small ? 0 : kind === 0 ? random() : words[word]! >> 31;
    }
    const fields: Record<string, number> = {};
    for (const field of format.template.fields) {
      const signed = field.signed && round % 4 > 1 ? -8 : 8;
      const values = (field.maximum ?? 2 ** field.width - 1) + 1;
      fields[field.name] = field.width <= 6 ? (random() >>> 9) % values : Math.min(signed, values - 1);
    }
    const insn: GuestInsn = { opcode: 0, length: format.length, fields };
    const entry = ground.baseWord + (PC << ground.scale);
    words[entry] = format.first(insn);
    words[entry + 1] = format.second(insn);
    words[ground.pcWord] = PC;
    if (ground.wide) words[ground.pcWord + 1] = 0;
    words[ground.budgetWord] = 1;
    words[ground.exitWord] = 0;
    ground.map();
    ground.interpret(NEVER, 0);
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round++) runOne(formats[round % formats.length]!, round);
  for (const format of formats) for (let round = 0; round < ROUNDS; round++) runOne(format, round);
}
