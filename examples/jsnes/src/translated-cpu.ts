/**
 * The NES's CPU with its instructions run by the translator, in place of jsnes's own.
 *
 * jsnes's CPU is two things: a 6502, and the bus that it sits on (one call a cycle, which drives picture, sound, DMA and
 * the interrupt inputs). This class replaces the first and inherits the second. Most of the time nothing that happens
 * on a cycle can be noticed by the program; such a stretch, up to the next interrupt or DMA that could come, is one run
 * of the translator, and time is added up at its end. Around such an event instructions are run one by one, with their
 * cycles. An access to a device does its instruction's cycles on the bus, in their order, with what indexed addressing
 * reads on the way, so that devices see the same as from jsnes's CPU.
 *
 * Memory is shared: `mem`, which cartridges and DMA use, is the translator's RAM. But the program is read from copies of
 * its pages, one for each that was ever seen: where a cartridge exchanges banks, others appear, and what was translated
 * from them is still there when they come back.
 *
 * Where a cartridge computes what is read, or a Game Genie changes it, jsnes's own CPU runs instead; so it does for code
 * in the mirrors of RAM.
 */
import { memoryAddress, mos6502, opcodes, STACK_WINDOW } from "@hyperfile/example-mos6502";
import { FlatCpu, type Tier } from "@hyperfile/jit";
import { type Console, JsnesCpuClass, type Mapper } from "./jsnes.js";

const BRK = 0x00;
const RTI = 0x40;
const VECTOR_NMI = 0xfffa;
const VECTOR_IRQ = 0xfffe;
/** Reading it does not drive the bus. */
const APU_STATUS = 0x4015;
/** No instruction takes more cycles, its branch included. */
const LONGEST = 8;
/** Shorter stretches are stepped through. */
const SHORTEST = 16;
/** Count of the sound unit's frame counter at which it interrupts, and its period. */
const FRAME_IRQ = 29828;
/** Where RAM is; its mirrors follow. */
const RAM_BYTES = 0x800;
const MIRRORS_END = 0x2000;
/** Locks the CPU up: what fetches from RAM's mirrors find. */
const JAM = 0x02;
/** Registers of cartridges begin here, their memory, and the program in it. */
const REGISTERS = 0x4020;
const CARTRIDGE = 0x6000;
const PROGRAM = 0x8000;
const PAGE_BYTES = 0x1000;
const PROGRAM_PAGES = 8;
/** Pages of programs that are kept, from this guest-physical address on. */
const COPIES = 0x10000;
const COPIED_PAGES = 256;
/** Guest-physical address of device 0. */
const DEVICES = 0x1000000;

/** The translator's side: it outlives resets of the console. */
export class TranslatedCore {
  readonly flat: FlatCpu;
  /** All 64 KiB. */
  readonly memory: Uint8Array;
  /** Who runs on it. */
  cpu: TranslatedCpu | undefined;
  private readonly words: Int32Array;
  /** What the program's pages were when they were last looked at: a hash, and where the copy is. */
  private readonly hashes = new Int32Array(PROGRAM_PAGES);
  private readonly places = new Int32Array(PROGRAM_PAGES);
  /** Copies by their hash. */
  private copies = new Map<number, number[]>();
  private copied = 0;

  constructor(tier: Tier = "auto") {
    this.flat = new FlatCpu({
      frontEnd: mos6502({ decimal: false }),
      tier,
      ramBytes: COPIES + COPIED_PAGES * PAGE_BYTES,
      map: (address, kind) => this.placeOf(address, kind),
      bus: {
        read: (address) => this.cpu!.readDevice(address - DEVICES),
        write: (address, _, value) => {
          this.cpu!.writeDevice(address - DEVICES, value);
          return true;
        },
      },
      helpers: {
        brk: () => this.cpu!.brk(),
        rti: (_, target = 0) => this.cpu!.rti(target),
        masked: () => this.cpu!.masked(),
      },
    });
    const { guest } = this.flat;
    const frames = Array.from({ length: 16 }, (_, page) => guest.writableFrame(page * PAGE_BYTES));
    if (frames.some((frame, page) => frame !== frames[0]! + page * PAGE_BYTES))
      throw new Error("RAM is not in one piece");
    const { u8, i32 } = guest.pool.memory;
    this.memory = u8.subarray(frames[0], frames[0]! + 0x10000);
    this.words = i32.subarray(frames[0]! >> 2, (frames[0]! + 0x10000) >> 2);
  }

  /** Finds the copies of the program's pages, as they are now, and makes those that are missing. */
  noticeProgram(): void {
    const { hashes, places } = this;
    let isChanged = false;
    do {
      for (let page = 0; page < PROGRAM_PAGES; page++) {
        const from = PROGRAM + page * PAGE_BYTES;
        const hash = this.hashOf(from);
        if (places[page] !== 0 && hash === hashes[page]) continue;
        hashes[page] = hash;
        places[page] = this.copyOf(from, hash);
        isChanged = true;
      }
    } while (places.includes(0));
    if (isChanged) this.flat.remap();
  }

  /** Where accesses go: RAM and its mirrors, the cartridge's memory to be read, devices. */
  private placeOf(address: number, kind: "read" | "write" | "fetch"): number {
    const at = memoryAddress(address);
    if (address >= STACK_WINDOW && address < STACK_WINDOW + 0x200) return at;
    if (at < MIRRORS_END) return kind === "fetch" ? at : at & (RAM_BYTES - 1);
    if (at < CARTRIDGE || kind === "write") return DEVICES + at;
    if (at < PROGRAM) return at;
    return this.places[(at - PROGRAM) >> 12]! + (at & (PAGE_BYTES - 1));
  }

  private hashOf(from: number): number {
    const { words } = this;
    let hash = 0;
    for (let word = from >> 2; word < (from + PAGE_BYTES) >> 2; word++)
      hash = (Math.imul(hash, 31) + words[word]!) | 0;
    return hash;
  }

  /** Where the copy of the page at `from` is. */
  private copyOf(from: number, hash: number): number {
    const alike = this.copies.get(hash) ?? [];
    const known = alike.find((place) => this.isCopy(place, from));
    if (known !== undefined) return known;
    if (this.copied === COPIED_PAGES) {
      // All are made anew, the program's present ones, too: their translations go as others take their place.
      this.copied = 0;
      this.copies = new Map();
      this.places.fill(0);
    }
    const place = COPIES + this.copied++ * PAGE_BYTES;
    this.flat.write(place, this.memory.slice(from, from + PAGE_BYTES));
    this.copies.set(hash, [...(this.copies.get(hash) ?? []), place]);
    return place;
  }

  private isCopy(place: number, from: number): boolean {
    const { guest } = this.flat;
    const { i32 } = guest.pool.memory;
    const [copy, page] = [guest.frameOffset(place) >> 2, from >> 2];
    for (let word = 0; word < PAGE_BYTES >> 2; word++)
      if (i32[copy + word] !== this.words[page + word]) return false;
    return true;
  }
}

/** The CPU that jsnes gets. */
export class TranslatedCpu extends JsnesCpuClass {
  private readonly flat: FlatCpu;
  /** What the mirrors of RAM held at power-on: nobody reads it but `toJSON`. */
  private readonly mirrors: Uint8Array;
  /** Memory was exchanged: translations may be of what was there before. */
  private isStale = true;
  /** jsnes's CPU has run: the registers are its, and it may have written these pages of RAM. */
  private isForeign = true;
  private dirtyPages = 0;
  private hasBanks = false;
  /** Time of the translator up to which cycles were given to the bus. */
  private synced = 0;
  /** When the instruction began whose cycles are on the bus, and the byte that it read. */
  private begun = -1;
  private hasRead = false;
  private byteRead = 0;
  /** Cycle up to which nothing can be noticed. */
  private limit = 0;
  private isStepping = false;
  private unmasked = false;

  constructor(
    nes: Console,
    private readonly core: TranslatedCore,
  ) {
    super(nes);
    this.flat = core.flat;
    core.memory.set(this.mem);
    this.mem = core.memory;
    this.mirrors = this.mem.slice(RAM_BYTES, MIRRORS_END);
    core.cpu = this;
  }

  override emulate(): number {
    const start = this.cycles;
    if (this.resetPending || !this.directPrgReads || isElsewhere(this.REG_PC)) return this.emulateItself();
    if (this.isForeign) this.takeOver();
    if (this.dmaNeedHalt) this._runDma(this.REG_PC);
    const quiet = this.quietCycles();
    if (quiet > 0) this.stretch(quiet);
    else this.step();
    if (this.prevNeedNmi || this.prevRunIrq) this.takeInterrupt();
    return this.cycles - start;
  }

  override toJSON(): { mem: number[] } {
    const state = super.toJSON();
    this.mirrors.forEach((byte, at) => {
      state.mem[RAM_BYTES + at] = byte;
    });
    return state;
  }

  override fromJSON(state: unknown): void {
    super.fromJSON(state);
    this.isStale = true;
    this.isForeign = true;
  }

  // -- running

  override write(address: number, value: number): void {
    super.write(address, value);
    if (address < MIRRORS_END) this.dirtyPages |= 1 << ((address >> 8) & 7);
  }

  /** One instruction on jsnes's own CPU. */
  private emulateItself(): number {
    this.isForeign = true;
    return super.emulate();
  }

  /** Takes over from jsnes's CPU: the registers, and memory that may have changed. */
  private takeOver(): void {
    const { flat, mem, nes } = this;
    this.isForeign = false;
    if (this.isStale) {
      this.isStale = false;
      mem.fill(JAM, RAM_BYTES, MIRRORS_END);
      flat.write(0, mem.slice());
      this.hasBanks = nes.mmap!.write !== plainOf(nes.mmap!).write;
      this.core.noticeProgram();
    }
    if (this.hasBanks) this.core.noticeProgram();
    this.dropWritten();
    this.toSlots();
  }

  /** Drops translations of what was written to RAM without the translator. */
  private dropWritten(): void {
    for (let page = 0; page < RAM_BYTES; page += 0x100) {
      if ((this.dirtyPages >> (page >> 8)) & 1 && this.flat.guest.holdsCode(page, 0x100))
        this.flat.write(page, this.mem.slice(page, page + 0x100));
    }
    this.dirtyPages = 0;
  }

  /** Runs until shortly before something could be noticed. */
  private stretch(quiet: number): void {
    const { flat, ppu } = this;
    this.limit = this.cycles + quiet;
    this.synced = flat.elapsed;
    this.begun = -1;
    const end = flat.run(quiet - LONGEST);
    this.pass(flat.elapsed - this.synced);
    this.fromSlots();
    if (ppu.dotTarget > ppu.nextEventDot) {
      ppu.catchUp();
      ppu._scheduleNextEvent();
      this.nmiLine = ppu.nmiOutput;
    }
    if (end === "fault") this.emulateItself();
    if (!this.unmasked) return;
    // RTI restores the mask early enough for an interrupt right after itself.
    this.unmasked = false;
    this.papu.catchUp(this.cycles);
    this.runIrq = this.prevRunIrq = this.irqFlags !== 0;
  }

  /** Runs one instruction, and gives each of its cycles to the bus. */
  private step(): void {
    const { flat, REG_PC: pc } = this;
    const opcode = this.mem[pc < MIRRORS_END ? pc & (RAM_BYTES - 1) : pc]!;
    const start = flat.elapsed;
    this.synced = start;
    this.begun = -1;
    this.isStepping = true;
    const end = flat.run(1);
    this.isStepping = false;
    if (end === "fault") {
      this.emulateItself();
      return;
    }
    const cycles = flat.elapsed - start;
    const mask = flat.get("i");
    const writes = writesOf(opcode, cycles);
    for (let cycle = this.synced - start; cycle < cycles; cycle++) {
      if (opcode === RTI && cycle === 4) this.F_INTERRUPT = mask;
      if (opcode === BRK && cycle === 5) this.chooseVector();
      // A taken branch in a page does not look at interrupts on its last cycle.
      if (cycle === 2 && isBranch(opcode) && this.runIrq && !this.prevRunIrq) this.runIrq = false;
      if ((writes >> cycle) & 1) super.write(0, this.mem[0]!);
      else this.read(pc);
    }
    this.fromSlots();
    this.F_INTERRUPT = mask;
    if (opcode === BRK) this.prevNeedNmi = this.prevRunIrq = false;
  }

  /** An NMI that comes while BRK pushes takes its handler's place. */
  private chooseVector(): void {
    this.F_INTERRUPT = 1;
    if (!this.needNmi) return;
    this.needNmi = false;
    this.forcedNmi = false;
    this.flat.pc = this.wordAt(VECTOR_NMI);
  }

  private takeInterrupt(): void {
    this._interruptSequence(VECTOR_IRQ, false);
    this.toSlots();
    this.dropWritten();
  }

  /** Lets cycles go by in which nothing happens that the CPU could notice. */
  private pass(cycles: number): void {
    if (cycles === 0) return;
    this.cycles += cycles;
    this.ppu.dotTarget += 3 * cycles;
    this.runIrq = this.prevRunIrq = false;
  }

  /** Cycles from now on in which nothing can interrupt the CPU, or halt it; 0 if there are only few. */
  private quietCycles(): number {
    const { ppu, papu, cycles } = this;
    if (this.irqFlags !== 0) papu.catchUp(cycles);
    if (this.needNmi || this.prevNeedNmi || this.dmaNeedHalt || this.dmcDmaRunning || ppu.frameEnded)
      return 0;
    if (this.irqFlags !== 0 && this.F_INTERRUPT === 0) return 0;
    if (ppu.nmiOutput && !this.nmiLine) return 0;
    const quiet = Math.min(this.quietPicture(), this.quietSound());
    return quiet < SHORTEST ? 0 : quiet;
  }

  private quietPicture(): number {
    const { ppu } = this;
    if (ppu.renderingOn && clocksCounter(this.nes.mmap!)) {
      ppu.catchUp();
      ppu._scheduleNextEvent();
      return Math.floor((ppu.nextEventDot - ppu.dotTarget) / 3);
    }
    // An odd frame is a dot shorter.
    return Math.floor((ppu.dotsRun + ppu._dotsUntil(241, 1) - 1 - ppu.dotTarget) / 3);
  }

  private quietSound(): number {
    const { papu, cycles } = this;
    const { dmc, lastCycle } = papu;
    let quiet = FRAME_IRQ;
    if (papu.countSequence === 0 && papu.frameIrqEnabled) {
      const left = FRAME_IRQ - papu.frameCycleCounter;
      quiet = lastCycle + left - 1 - cycles;
    }
    const isFetching = dmc.bytesRemaining > 0;
    if (dmc.startDelay !== 0 || (isFetching && dmc.disableDelay !== 0)) return 0;
    if (cycles - dmc.lastFetchCycle < LONGEST) return 0;
    if (!isFetching) return quiet;
    return Math.min(quiet, lastCycle + dmc.timer + (dmc.bitsRemaining - 1) * dmc.period - 4 - cycles);
  }

  // -- what translated code calls

  /** A load from a device. */
  readDevice(address: number): number {
    this.begin(address);
    this.byteRead = this.isStepping ? this.read(address) : this.readQuietly(address);
    this.hasRead = true;
    this.synced++;
    return this.byteRead;
  }

  /** A cycle that reads a device, in a stretch: only the device itself must know how late it is. */
  private readQuietly(address: number): number {
    const { ppu } = this;
    this.cycles++;
    ppu.catchUp();
    const value = this.nes.mmap!.load(address);
    if (address !== APU_STATUS) this.dataBus = value;
    ppu.dotTarget += 3;
    ppu.nextEventDot = 0;
    this.nmiLine = ppu.nmiOutput;
    return value;
  }

  /** A store to a device, to the cartridge's memory, or to its registers. */
  writeDevice(address: number, value: number): void {
    const { use } = this.begin(address);
    if (use === "modify") {
      // The chip writes what it read before it writes what it made of that.
      if (!this.hasRead) this.readDevice(address);
      this.write(address, this.byteRead);
      this.synced++;
    }
    this.write(address, value);
    this.synced++;
    if (address >= REGISTERS) this.noticeMemory(address);
    if (this.isStepping) return;
    if (!this.directPrgReads || this.cycles + this.quietCycles() < this.limit) this.flat.stop();
  }

  /** Gives the bus the time up to this instruction, and those of its cycles that come before the access. */
  private begin(address: number): (typeof opcodes)[number] {
    const { flat, mem } = this;
    const pc = flat.pc & 0xffff;
    const opcode = opcodes[mem[pc]!]!;
    const now = flat.elapsed;
    if (now === this.begun) return opcode;
    this.begun = now;
    this.hasRead = false;
    this.pass(now - this.synced);
    const { mode, length, use } = opcode;
    const pointer = mem[(pc + 1) & 0xffff]!;
    const operand =
      length === 3
        ? pointer | (mem[(pc + 2) & 0xffff]! << 8)
        : mem[pointer]! | (mem[(pointer + 1) & 0xff]! << 8);
    const isIndexed = mode === "izy" || mode === "abx" || mode === "aby";
    // Opcode, operand, and the pointer in the zero page, which (zp,x) reads after the index was added.
    const cycles = length === 3 ? 3 : mode === "izx" ? 5 : 4;
    if (this.isStepping) for (let cycle = 0; cycle < cycles; cycle++) this.read(pc);
    else this.pass(cycles);
    this.dataBus = (mode === "izx" ? address : operand) >> 8;
    this.synced = now + cycles;
    if (isIndexed && (use !== "read" || operand >> 8 !== address >> 8)) {
      this.read((operand & 0xff00) | (address & 0xff));
      this.synced++;
    }
    return opcode;
  }

  /** A store to the cartridge may have changed its memory, or exchanged it. */
  private noticeMemory(address: number): void {
    const { flat, mem } = this;
    if (address >= CARTRIDGE && address < PROGRAM && flat.guest.holdsCode(address, 0x100))
      flat.write(address, mem.slice(address, address + 1));
    if (this.hasBanks) this.core.noticeProgram();
  }

  brk(): void {
    const { flat } = this;
    this.fromSlots();
    const from = flat.pc + 2;
    let s = this.REG_SP;
    for (const value of [from >> 8, from, (this.status() & 0xcf) | 0x30]) {
      flat.write(0x100 | s, Uint8Array.of(value));
      s = (s - 1) & 0xff;
    }
    flat.set("s", s);
    flat.set("i", 1);
    flat.pc = this.wordAt(VECTOR_IRQ);
    if (!this.isStepping) this.F_INTERRUPT = 1;
  }

  rti(target: number): void {
    this.flat.pc = target;
    this.masked();
    this.unmasked = !this.isStepping && this.irqFlags !== 0 && this.F_INTERRUPT === 0;
  }

  /** The interrupt mask was written: an interrupt that waits comes after the next instruction. */
  masked(): void {
    if (this.isStepping) return;
    this.F_INTERRUPT = this.flat.get("i");
    if (this.irqFlags !== 0 && this.F_INTERRUPT === 0) this.flat.stop();
  }

  // -- registers

  private wordAt(address: number): number {
    return this.mem[address]! | (this.mem[address + 1]! << 8);
  }

  private status(): number {
    const zero = this.F_ZERO === 0 ? 2 : 0;
    const { F_CARRY: c, F_DECIMAL: d, F_OVERFLOW: v, F_SIGN: n } = this;
    return c | zero | (this.flat.get("i") << 2) | (d << 3) | (v << 6) | (n << 7);
  }

  private fromSlots(): void {
    const { flat } = this;
    this.REG_ACC = flat.get("a");
    this.REG_X = flat.get("x");
    this.REG_Y = flat.get("y");
    this.REG_SP = flat.get("s");
    this.REG_PC = flat.pc & 0xffff;
    this.F_CARRY = flat.get("c");
    this.F_ZERO = flat.get("z");
    this.F_DECIMAL = flat.get("d");
    this.F_OVERFLOW = (flat.get("v") >> 7) & 1;
    this.F_SIGN = (flat.get("n") >> 7) & 1;
  }

  private toSlots(): void {
    const { flat } = this;
    flat.set("a", this.REG_ACC);
    flat.set("x", this.REG_X);
    flat.set("y", this.REG_Y);
    flat.set("s", this.REG_SP);
    flat.pc = this.REG_PC;
    flat.set("c", this.F_CARRY);
    flat.set("z", this.F_ZERO);
    flat.set("i", this.F_INTERRUPT);
    flat.set("d", this.F_DECIMAL);
    flat.set("v", this.F_OVERFLOW << 7);
    flat.set("n", this.F_SIGN << 7);
  }
}

const isBranch = (opcode: number): boolean => opcodes[opcode]!.mode === "rel";

/** Which cycles of an instruction write: bit n is cycle n. */
function writesOf(opcode: number, cycles: number): number {
  const { use, name } = opcodes[opcode]!;
  if (use === "modify") return 3 << (cycles - 2);
  if (use === "store" || name === "pha" || name === "php") return 1 << (cycles - 1);
  if (name === "jsr") return 0b011000;
  return name === "brk" ? 0b0011100 : 0;
}

/** Whether the translator can't run code there: in the mirrors of RAM, or at devices. */
const isElsewhere = (pc: number): boolean => pc >= RAM_BYTES && pc < CARTRIDGE;

/** The class of cartridges without circuits, from which all others derive. */
function plainOf(mapper: Mapper): Mapper {
  let plain = mapper;
  for (let next = mapper; next !== Object.prototype; next = Object.getPrototypeOf(next)) plain = next;
  return plain;
}

/** Whether a cartridge counts lines, and so may interrupt at any of them. */
const clocksCounter = (mapper: Mapper): boolean => mapper.clockIrqCounter !== plainOf(mapper).clockIrqCounter;
