/**
 * A generated program as an ELF file: the runtime, address spaces with pages of all kinds, constants, data, and blocks
 * of instructions that each run in a mode and an address space of their own.
 */
import { BlockWriter, Mode } from "./block-writer.js";
import { CodeBuilder } from "./code-builder.js";
import {
  BLOCKS,
  BLOCKS_BYTES,
  DATA,
  DATA_BYTES,
  DESCRIPTORS,
  Descriptor,
  GUARDED,
  POOL,
  RUNTIME,
  RUNTIME_BYTES,
  STATE,
  State,
  TABLES,
  TABLES_BYTES,
} from "./layout.js";
import { AddressSpace, Pte, schemes, TableMemory } from "./page-tables.js";
import { operand, Random } from "./random.js";
import { runtime } from "./runtime.js";

const PAGE = 4096;
const ALL = Pte.valid | Pte.read | Pte.write | Pte.execute | Pte.accessed | Pte.dirty;
/** Distance of the windows of an address space: a superpage of Sv32, two of the others. */
const WINDOW = 0x400000n;
/** Pages of the arena, and the first of them, which stay as they are: two for S mode, two for U mode. */
const ARENA_PAGES = 16;
const STABLE = 4;
/** Places in the pool for addresses of page-table windows, and for entries to write there. */
const WINDOW_PLACES = 8;
const ENTRY_PLACES = 24;

/** One block, for reports. */
export interface BlockInfo {
  readonly mode: Mode;
  /** Name of the translation scheme, or "bare". */
  readonly scheme: string;
  /** Address that it runs at, and where its bytes lie. */
  readonly va: bigint;
  readonly gpa: number;
  readonly bytes: Uint8Array;
}

/** A program. */
export interface Program {
  readonly xlen: 32 | 64;
  readonly seed: number;
  readonly elf: Uint8Array;
  readonly blocks: readonly BlockInfo[];
  readonly passes: number;
}

/** What to generate. */
export interface ProgramOptions {
  readonly xlen: 32 | 64;
  readonly seed: number;
  readonly blocks: number;
  /** How often all blocks run. */
  readonly passes: number;
  /** Number of the checkpoint whose state is printed in full. */
  readonly wanted?: number;
}

/** An address space with its windows. */
interface Space {
  readonly table: AddressSpace;
  readonly code: bigint;
  readonly userCode: bigint;
  readonly arena: bigint;
  readonly superpage: bigint;
  readonly userSuperpage: bigint;
  readonly pool: bigint;
}

/** Generates the program of a seed. */
export function generateProgram(options: ProgramOptions): Program {
  const { xlen, seed } = options;
  const random = new Random(seed * 2 + (xlen === 64 ? 1 : 0));
  const tables = new TableMemory(TABLES, TABLES_BYTES);
  const pool = new DataView(new ArrayBuffer(PAGE));
  for (let at = 0; at < PAGE; at += 8) pool.setBigUint64(at, operand(random), true);
  const spaces = Array.from({ length: xlen === 64 ? 3 : 2 }, () => makeSpace(xlen, random, tables));
  spaces.forEach((space, index) => {
    pool.setBigUint64(8 * (WINDOW_PLACES + index), BigInt.asUintN(64, tableWindow(space)), true);
  });
  for (let at = 0; at < 8; at++) pool.setBigUint64(8 * (ENTRY_PLACES + at), arenaEntry(xlen, random), true);

  const code = new CodeBuilder(xlen, BLOCKS, BLOCKS_BYTES);
  // The first page of every window: where a block ends whose code can't be fetched.
  code.emit("ecall");
  code.at = PAGE;
  const descriptors = new DataView(new ArrayBuffer(options.blocks * Descriptor.bytes));
  const places: { mode: Mode; scheme: string; window: bigint; from: number; to: number }[] = [];
  for (let index = 0; index < options.blocks; index++) {
    const spaceIndex = random.below(spaces.length + 1);
    const space = spaces[spaceIndex];
    const mode = random.pick([Mode.user, Mode.supervisor, Mode.machine] as const);
    const large = random.once(4);
    const user = mode === Mode.user;
    const bare = mode === Mode.machine || space === undefined;
    const window = bare
      ? BigInt(BLOCKS)
      : large
        ? (user ? space.userSuperpage : space.superpage) + BigInt(BLOCKS - RUNTIME)
        : user
          ? space.userCode
          : space.code;
    if (random.once(3)) code.half(0x0001);
    const from = code.at;
    const traps = random.once(3);
    const status = 0x6000 | (mode << 11) | ((random.bits() & (traps ? 0x7c0000 : 0xc0000)) >>> 0);
    const writer = new BlockWriter(code, random, {
      mode,
      tableWindow: bare || mode !== Mode.supervisor ? undefined : 8 * (WINDOW_PLACES + spaceIndex) - PAGE / 2,
      entries: Array.from({ length: 8 }, (_, at) => 8 * (ENTRY_PLACES + at) - PAGE / 2),
      userDistance:
        bare || user || !random.once(3)
          ? undefined
          : Number(
              BigInt.asIntN(32, large ? space.userSuperpage - space.superpage : space.userCode - space.code),
            ),
      timeoutWait: (status & 0x200000) !== 0,
    });
    writer.write(40 + random.below(200));
    code.emit("ecall");
    if (code.at > BLOCKS_BYTES - 0x1000) throw new Error("no room for the blocks");
    places.push({ mode, scheme: bare ? "bare" : space.table.scheme.name, window, from, to: code.at });

    const set = (field: number, value: bigint) =>
      descriptors.setBigUint64(index * Descriptor.bytes + field, BigInt.asUintN(64, value), true);
    set(Descriptor.entry, window + BigInt(from));
    set(Descriptor.end, window);
    set(Descriptor.satp, space?.table.satp ?? 0n);
    set(Descriptor.mstatus, BigInt(status));
    // Never calls and fetches: those end blocks.
    set(Descriptor.medeleg, BigInt(random.once(2) ? 0 : random.bits() & 0xa0fc));
    set(Descriptor.mideleg, BigInt(random.below(2) * 2));
    const [stable, second, wild] = bare
      ? physicalPointers(random)
      : arenaPointers(random, space, user, status);
    set(Descriptor.s0, stable);
    set(Descriptor.sp, second);
    set(Descriptor.s1, wild);
    set(Descriptor.gp, (bare || !user ? BigInt(POOL) : space.pool) + BigInt(PAGE / 2));
  }
  const bytes = code.finish();
  const data = new Uint8Array(DATA_BYTES).map(() => random.bits());
  const parts: [number, Uint8Array][] = [
    [RUNTIME, runtime(xlen, options.blocks, { permissions: random.pick([0, 1, 3, 4, 5]), region: GUARDED })],
    [STATE, initialState(random, options)],
    [POOL, new Uint8Array(pool.buffer)],
    [DATA, data],
    [TABLES, tables.bytes],
    [DESCRIPTORS, new Uint8Array(descriptors.buffer)],
    [BLOCKS, bytes],
  ];
  return {
    xlen,
    seed,
    passes: options.passes,
    elf: elfFile(xlen, parts),
    blocks: places.map(({ mode, scheme, window, from, to }) => ({
      mode,
      scheme,
      va: BigInt.asUintN(xlen, window + BigInt(from)),
      gpa: BLOCKS + from,
      bytes: bytes.slice(from, to),
    })),
  };
}

function makeSpace(xlen: 32 | 64, random: Random, tables: TableMemory): Space {
  const scheme = random.pick(schemes[xlen]);
  const table = new AddressSpace(scheme, tables);
  for (let page = 0; page < RUNTIME_BYTES; page += PAGE)
    table.map(BigInt(RUNTIME + page), RUNTIME + page, Pte.valid | Pte.read | Pte.execute | Pte.accessed);
  table.map(BigInt(STATE), STATE, ALL & ~Pte.execute);
  table.map(BigInt(POOL), POOL, Pte.valid | Pte.read | Pte.accessed);
  for (let page = 0; page < DATA_BYTES; page += PAGE)
    table.map(BigInt(DATA + page), DATA + page, (ALL & ~Pte.execute) | (random.below(2) * Pte.user));
  const base = windowBase(xlen, scheme.levels, random);
  const at = (window: number) => base + BigInt(window) * WINDOW;
  for (let page = 0; page < BLOCKS_BYTES; page += PAGE) {
    const always = Pte.valid | Pte.execute | (page === 0 ? Pte.accessed : 0);
    const readable = random.once(4) ? 0 : Pte.read | (random.below(2) * Pte.write);
    const flags = random.bits() & (Pte.accessed | Pte.dirty | Pte.global);
    const hole = page !== 0 && random.once(16);
    const both = hole ? random.below(2) * (Pte.valid | Pte.read) : always | readable | flags;
    table.map(at(0) + BigInt(page), BLOCKS + page, both);
    table.map(at(1) + BigInt(page), BLOCKS + page, both | (random.once(32) && page > 0 ? 0 : Pte.user));
  }
  table.map(at(3), RUNTIME, ALL, 1);
  table.map(at(4), RUNTIME, ALL | Pte.user, 1);
  table.map(at(5), POOL, Pte.valid | Pte.read | Pte.accessed | Pte.user);
  const space = {
    table,
    code: at(0),
    userCode: at(1),
    arena: at(2),
    superpage: at(3),
    userSuperpage: at(4),
    pool: at(5),
  };
  let entry = 0;
  for (let page = 0; page < ARENA_PAGES; page++) {
    const va = space.arena + BigInt(page * PAGE);
    const flags = Pte.valid | Pte.read | Pte.write | (random.bits() & (Pte.accessed | Pte.dirty));
    const place =
      page < STABLE
        ? table.map(va, DATA + (page & 1) * PAGE, flags | (page < 2 ? 0 : Pte.user))
        : table.put(va, arenaEntry(xlen, random));
    if (page === 0) entry = place;
  }
  // The arena's own table, so that S mode can change it.
  table.map(tableWindow(space), entry - (entry % PAGE), ALL & ~Pte.execute);
  return space;
}

/** Where the arena's page table is mapped. */
const tableWindow = (space: { readonly arena: bigint }): bigint => space.arena + 0x40000n;

/** Start of the windows: canonical, and away from the runtime and from address zero. */
function windowBase(xlen: 32 | 64, levels: number, random: Random): bigint {
  if (xlen === 32) return BigInt(random.pick([1, 2, 3, 5, 6, 9, 10, 12, 15])) << 28n;
  const bits = BigInt(12 + 9 * levels);
  const gigabyte = (BigInt(random.bits()) << 32n) | BigInt(random.bits());
  let base = BigInt.asIntN(Number(bits), gigabyte << 30n);
  if (base === 0x80000000n || base === 0n) base = -0x40000000n;
  return base;
}

/** An entry for a page of the arena, good or bad. */
function arenaEntry(xlen: 32 | 64, random: Random): bigint {
  const kind = random.below(20);
  const page = kind === 0 ? GUARDED : DATA + random.below(DATA_BYTES / PAGE) * PAGE;
  let flags = Pte.valid | Pte.read | (random.bits() & (Pte.write | Pte.user | Pte.global));
  if (!random.once(3)) flags |= Pte.accessed;
  if (!random.once(3)) flags |= Pte.dirty;
  if (kind === 1) flags = 0;
  if (kind === 2) flags = (flags & ~Pte.read) | Pte.write;
  if (kind === 3) flags = Pte.valid | Pte.execute | Pte.accessed | (flags & Pte.user);
  // A pointer to a table at the last level.
  if (kind === 4) flags = Pte.valid;
  const reserved = kind === 5 && xlen === 64 ? 1n << BigInt(54 + random.below(10)) : 0n;
  return (BigInt(page / PAGE) << 10n) | BigInt(flags) | reserved;
}

/** A pointer to a writable page, a second one, and one to anywhere near. */
function physicalPointers(random: Random): [bigint, bigint, bigint] {
  const middle = () => BigInt(DATA + random.below(DATA_BYTES / PAGE) * PAGE + PAGE / 2);
  const room = DATA_BYTES - PAGE - 16;
  return [middle(), middle(), BigInt(DATA + PAGE / 2 + random.below(room))];
}

function arenaPointers(
  random: Random,
  space: Space,
  user: boolean,
  status: number,
): [bigint, bigint, bigint] {
  void status;
  const stable = () => space.arena + BigInt((random.below(2) + (user ? 2 : 0)) * PAGE + PAGE / 2);
  const wild = () => {
    if (random.once(6))
      return (user ? space.userSuperpage : space.superpage) + physicalPointers(random)[2] - BigInt(RUNTIME);
    const near = random.once(2) ? random.below(64) - 32 : random.below(PAGE);
    return space.arena + BigInt((1 + random.below(ARENA_PAGES - 1)) * PAGE + near);
  };
  return [stable(), random.once(5) ? wild() : stable(), wild()];
}

function initialState(random: Random, options: ProgramOptions): Uint8Array {
  const view = new DataView(new ArrayBuffer(PAGE));
  const put = (at: number, value: bigint) => view.setBigUint64(at, BigInt.asUintN(64, value), true);
  for (let register = 0; register < 32; register++) {
    // RV32 registers take four of the eight bytes; the others stay zero.
    const value = register === 0 ? 0n : operand(random);
    put(State.x + 8 * register, options.xlen === 64 ? value : value & 0xffffffffn);
    put(State.f + 8 * register, operand(random));
  }
  put(State.passes, BigInt(options.passes));
  put(State.wanted, BigInt(options.wanted ?? -1));
  return new Uint8Array(view.buffer);
}

/** An ELF file with one loaded segment a part. */
function elfFile(xlen: 32 | 64, parts: readonly [gpa: number, bytes: Uint8Array][]): Uint8Array {
  const wide = xlen === 64;
  const [headerBytes, entryBytes] = wide ? [64, 56] : [52, 32];
  const start = Math.ceil((headerBytes + entryBytes * parts.length) / PAGE) * PAGE;
  const total = parts.reduce((sum, [, bytes]) => sum + Math.ceil(bytes.length / PAGE) * PAGE, start);
  const file = new Uint8Array(total);
  const view = new DataView(file.buffer);
  let at = 0;
  const half = (value: number) => {
    view.setUint16(at, value, true);
    at += 2;
  };
  const word = (value: number) => {
    view.setUint32(at, value, true);
    at += 4;
  };
  const address = (value: number) => {
    word(value);
    if (wide) word(0);
  };
  file.set([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, 1, 1]);
  at = 16;
  half(2);
  half(243);
  word(1);
  address(RUNTIME);
  address(headerBytes);
  address(0);
  word(5); // compressed code, double-precision calling convention
  for (const value of [headerBytes, entryBytes, parts.length, 0, 0, 0]) half(value);
  let offset = start;
  for (const [gpa, bytes] of parts) {
    word(1);
    if (wide) word(7);
    for (const value of [offset, gpa, gpa, bytes.length, bytes.length]) address(value);
    if (!wide) word(7);
    address(PAGE);
    file.set(bytes, offset);
    offset += Math.ceil(bytes.length / PAGE) * PAGE;
  }
  return file;
}
