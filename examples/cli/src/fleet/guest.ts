/**
 * The broker's guests, composed from the packages: one hart with its board, console and clock, in a pool of frames
 * that its clones share. Clones take turns on the original's engine, so that what is translated once serves all.
 */
import {
  balloonMemory,
  cloneParts,
  type Guest,
  type GuestEnd,
  type GuestMemoryParts,
  type GuestMemoryUsage,
  type GuestSurroundings,
  LazyPages,
  type MakeGuest,
  RealClock,
  type SnapshotMachine,
  VirtualClock,
  Vm,
  type VmSpec,
  zstdCodec,
} from "@hyperfile/broker";
import { restoreSnapshotFile, saveSnapshotFile } from "@hyperfile/broker/node";
import {
  type BootPlan,
  parseElf,
  type VirtBoard,
  virtBoard,
  virtioBalloon,
  virtioConsole,
  virtioRng,
  wallClockFrom,
} from "@hyperfile/devices";
import {
  guestIn,
  type MachineMemory,
  NO_STEAL_AREA,
  poolAt,
  RiscvCpu,
  riscvMemory,
  type SharedFrames,
  supervisorBinary,
  type ThreadPlace,
  writeStealTime,
} from "@hyperfile/jit";
import { CliError } from "../errors.js";
import { Htif } from "../htif.js";
import { type BootFiles, planBoot, readBootFiles } from "./boot-files.js";

/** Extensions that the device tree announces. */
const extensions = "imafdc_zicntr_zicsr_zifencei_zba_zbb_zbs_sstc_svadu_svinval";
const RAM_BASE = 0x80000000;
/** Where a deterministic machine's calendar begins: 2026-01-01T00:00:00Z in milliseconds. */
const DETERMINISTIC_EPOCH = 1_767_225_600_000;
/** Instructions of a slice of a deterministic machine: a figure that measured time decides would not repeat. */
const DETERMINISTIC_SLICE = 50_000;
/** Instructions between two looks at `tohost`: small programs end at once. */
const HTIF_SLICE = 5_000;
/** Console output after which a slice ends, in bytes: what the host takes of it decides when the next one begins. */
const SLICE_OUTPUT = 32_768;
const SEED_BYTES = 32;
/** Bytes of RAM of a machine that runs nothing. */
const SMALL = 65_536;
/** Milliseconds between two batches of a restored VM's pages. */
const LAZY_STEP = 5;

/** Makes guests for the broker. */
export const makeGuest: MakeGuest = async (spec, surroundings, { folder, place }) => {
  const files = await readBootFiles(spec, folder);
  const thread = threadAt(place as ThreadPlace);
  const { pool, first } = thread;
  if (first !== undefined && first.options.xlen !== files.xlen) {
    throw new CliError(
      "E_MACHINE",
      `VM ${spec.name} is for RV${files.xlen} and others of group ${spec.group} are not: put it in another group`,
    );
  }
  const ram = guestIn(pool, { ramBytes: spec.memoryBytes, ramBase: RAM_BASE });
  const guest = new RiscvGuest(spec, files, ram, pool.frames, surroundings, first);
  thread.first ??= guest.cpu;
  return guest;
};

/**
 * Makes the start of a thread's first guest shorter: the engine's modules are compiled once for a process, and its own code
 * runs faster the second time.
 */
export async function prepareThread(): Promise<void> {
  const ram = riscvMemory({ ramBytes: SMALL });
  const clock = new RealClock();
  const board = virtBoard({
    memory: ram.guest,
    ramBytes: SMALL,
    harts: [],
    clock,
    console: { write: () => {} },
    virtio: [],
    onPower: () => {},
  });
  new RiscvCpu({ xlen: 64, memory: ram, bus: board.bus, clock, tier: "auto", background: true });
  await zstdCodec();
}

/** What the VMs of a thread have in common; they take turns on the engine of the first. */
interface ThreadMachines {
  readonly pool: ReturnType<typeof poolAt>;
  first: RiscvCpu | undefined;
}
const threads = new WeakMap<ThreadPlace, ThreadMachines>();

function threadAt(place: ThreadPlace): ThreadMachines {
  const known = threads.get(place) ?? { pool: poolAt(place), first: undefined };
  threads.set(place, known);
  return known;
}

/** A guest. */
class RiscvGuest implements Guest {
  readonly cpu: RiscvCpu;
  private readonly board: VirtBoard;
  private readonly clock: RealClock | VirtualClock;
  private readonly vm: Vm;
  private readonly plan: BootPlan;
  private readonly htif: Htif | undefined;
  private readonly hvc: ReturnType<typeof virtioConsole>;
  private readonly machine: SnapshotMachine;
  /** The memory and registers hold a state to go on from. */
  private restored = false;
  private lazy: NodeJS.Timeout | undefined;
  private steal = 0;
  /** Bytes printed since the slice, and the look at the devices before it, began. */
  private printed = 0;
  readonly memory: GuestMemoryParts;

  constructor(
    private readonly spec: VmSpec,
    private readonly files: BootFiles,
    private readonly ram: MachineMemory,
    private readonly frames: SharedFrames,
    private readonly surroundings: GuestSurroundings,
    first?: RiscvCpu,
  ) {
    const { xlen } = files;
    const { memoryBytes: ramBytes, deterministic } = spec;
    const cpu = () => this.cpu;
    // Where a slice ends depends on what the guest prints and not on when it is taken: deterministic machines repeat.
    const console = {
      write: (bytes: Uint8Array) => {
        this.printed += bytes.length;
        if (this.isTalkative) cpu().stop();
        surroundings.console.write(bytes);
      },
      full: () => this.isTalkative,
    };
    const onPower = (event: { kind: "off"; status: number } | { kind: "reset" }) => {
      this.vm.requestPower(event);
      cpu().stop();
    };
    this.clock = deterministic ? new VirtualClock(() => cpu().retired()) : new RealClock();
    const entropy = deterministic
      ? repeatable(spec.name)
      : (bytes: Uint8Array) => void crypto.getRandomValues(bytes);
    this.hvc = virtioConsole({ backend: console });
    const balloon = virtioBalloon({ memory: balloonMemory(ram.guest) });
    this.memory = {
      frames: ram.pool,
      common: { yield: () => frames.yield(), awaitRelease: (ms) => frames.table.awaitRelease(ms) },
      memory: ram.guest,
      balloon,
      reservedFrame: () => cpu().reservedFrame,
    };
    this.board = virtBoard({
      memory: ram.guest,
      ramBytes,
      harts: [{ setPending: (cause, level) => cpu().hart.setPending(cause, level) }],
      clock: this.clock,
      console,
      virtio: [this.hvc.factory, virtioRng({ entropy }), balloon.factory],
      ...(deterministic ? { wallClock: wallClockFrom(DETERMINISTIC_EPOCH, this.clock) } : {}),
      onPower,
    });
    const print = (bytes: Uint8Array) => {
      this.board.flush();
      console.write(bytes);
    };
    const sbi = supervisorBinary({
      harts: () => [cpu().hart],
      memory: ram.guest,
      console: { write: print, read: () => new Uint8Array(0) },
      onPower,
      stealTime: !deterministic,
    });
    this.cpu = new RiscvCpu({
      xlen,
      memory: ram,
      bus: this.board.bus,
      clock: this.clock,
      tier: spec.tier,
      background: !deterministic,
      ...(first === undefined ? {} : { core: first.core }),
      ...(files.firmware === undefined && files.program === undefined ? { sbi } : {}),
    });
    const seed = new Uint8Array(SEED_BYTES);
    entropy(seed);
    this.plan = planBoot(files, ramBytes, (initrd) =>
      this.board.deviceTree({
        isa: `rv${xlen}${extensions}`,
        mmu: xlen === 32 ? "sv32" : "sv57",
        bootargs: files.append,
        rngSeed: seed,
        ...(initrd === undefined ? {} : { initrd }),
      }),
    );
    this.htif = htifOf(files, ram, print, (status) => onPower({ kind: "off", status }));
    this.vm = new Vm({
      hart: {
        run: (budget) => this.slice(budget),
        pollTimer: () => cpu().pollTimer(),
        deadline: () => cpu().deadline(),
        wakeReady: () => cpu().wakeReady(),
        retired: () => cpu().retired(),
      },
      board: {
        tick: () => {
          this.printed = 0;
          this.board.tick();
          this.hvc.drain();
        },
        deadline: () => this.board.deadline(),
        flush: () => this.board.flush(),
        reset: () => this.board.reset(),
      },
      clock: this.clock,
      load: () => this.load(),
      gate: surroundings.gate(() => cpu().retired()),
      ...(this.htif !== undefined
        ? { slice: HTIF_SLICE }
        : deterministic
          ? { slice: DETERMINISTIC_SLICE }
          : {}),
    });
    this.machine = {
      config: { xlen, ramBytes, board: "virt with balloon" },
      memory: ram.guest,
      parts: { cpu: this.cpu, clock: this.clock, board: this.board },
    } as SnapshotMachine;
  }

  async run(): Promise<GuestEnd> {
    if (this.restored) this.bringPagesIn();
    const end = await this.vm.run();
    this.board.flush();
    clearTimeout(this.lazy);
    if (end.kind === "off") return { kind: "off", status: end.status };
    if (end.reason === "stuck") return { kind: "error", status: 1, message: this.cpu.describeStuck() };
    return { kind: "stopped", status: 0, ...(end.reason === "stopped" ? {} : { message: end.reason }) };
  }

  receive(bytes: Uint8Array): number {
    const taken = this.board.receive(bytes);
    this.vm.wake();
    return taken;
  }

  resize(columns: number, rows: number): void {
    this.hvc.resize(columns, rows);
  }

  standStill(): () => void {
    return this.vm.standStill();
  }

  hold(): void {
    this.vm.hold();
  }

  release(): void {
    this.vm.release();
  }

  stop(reason: string): void {
    this.vm.stop(reason);
  }

  reset(): void {
    this.vm.requestPower({ kind: "reset" });
  }

  retired(): number {
    return this.cpu.retired();
  }

  memoryFigures(): GuestMemoryUsage {
    return this.ram.guest.usage();
  }

  counters(): Readonly<Record<string, number>> {
    const { counters } = this.cpu.engine;
    const devices = Object.entries(this.board.counters()).flatMap(([device, values]) =>
      Object.entries(values).map(([name, value]) => [`${device}.${name}`, value] as const),
    );
    return {
      ...Object.fromEntries(devices),
      "engine.interpreted": counters.interpreted,
      "engine.translated": counters.translated,
      "engine.translations": counters.translations,
      "vm.slices": this.vm.counters.slices,
      "vm.sleeps": this.vm.counters.sleeps,
    };
  }

  async saveTo(path: string): Promise<{ readonly bytes: number }> {
    this.board.flush();
    return saveSnapshotFile(path, this.machine);
  }

  async restoreFrom(path: string): Promise<void> {
    await restoreSnapshotFile(path, this.machine);
    this.restored = true;
  }

  async clone(name: string, surroundings: GuestSurroundings): Promise<Guest> {
    const twin = new RiscvGuest(
      { ...this.spec, name },
      this.files,
      this.cpu.shareMemory(),
      this.frames,
      surroundings,
      this.cpu,
    );
    cloneParts(this.machine, twin.machine);
    twin.restored = true;
    return twin;
  }

  free(): void {
    clearTimeout(this.lazy);
    this.cpu.core.park();
    this.ram.guest.free();
  }

  /** At power-on; the first time a restored guest has its state already. */
  private load(): void {
    if (this.restored) {
      this.restored = false;
      return;
    }
    this.steal = 0;
    const { guest } = this.ram;
    guest.clearTouched();
    for (const placement of this.plan.placements) {
      if (guest.write(placement.gpa, placement.bytes)) continue;
      throw new CliError(
        "E_FILE",
        `VM ${this.spec.name}: the ${placement.what} of ${placement.bytes.length} bytes does not fit at 0x${placement.gpa.toString(16)}: give the VM more memory than ${guest.bytes / 2 ** 20}M`,
      );
    }
    const pcHi = Math.floor(this.plan.entry / 2 ** 32);
    this.cpu.start({ pcLo: this.plan.entry | 0, pcHi, mode: this.plan.mode, args: this.plan.args });
  }

  private get isTalkative(): boolean {
    return this.printed >= SLICE_OUTPUT;
  }

  private slice(budget: number): "budget" | "wait" | "stop" {
    // A console still has output from the slice before: it comes before the next instruction.
    if (this.isTalkative) return "stop";
    const { stealArea } = this.cpu.hart.state;
    if (stealArea !== NO_STEAL_AREA) this.tellSteal(stealArea);
    const end = this.cpu.run(budget);
    this.htif?.poll();
    if (this.cpu.engine.stuck) this.vm.stop("stuck");
    return end;
  }

  private tellSteal(area: number): void {
    const steal = this.surroundings.steal();
    if (steal === this.steal) return;
    this.steal = steal;
    writeStealTime(this.ram.guest, area, steal);
  }

  /** Brings the pages that a restored guest has not used yet out of the snapshot, while it runs. */
  private bringPagesIn(): void {
    const pages = new LazyPages(this.ram.guest);
    const step = () => {
      this.lazy = pages.step() ? setTimeout(step, LAZY_STEP) : undefined;
    };
    step();
  }
}

function htifOf(
  { program }: BootFiles,
  { guest }: MachineMemory,
  print: (bytes: Uint8Array) => void,
  exit: (status: number) => void,
): Htif | undefined {
  if (program === undefined) return undefined;
  const { symbols } = parseElf(program.bytes, program.name);
  const [tohost, fromhost] = [symbols.get("tohost"), symbols.get("fromhost")];
  if (tohost === undefined) return undefined;
  return new Htif(guest, Number(tohost), fromhost === undefined ? undefined : Number(fromhost), print, exit);
}

/** Numbers that look random and repeat for the same name: xorshift32. */
function repeatable(name: string): (bytes: Uint8Array) => void {
  let state =
    [...name].reduce((hash, char) => Math.imul(hash ^ char.charCodeAt(0), 16_777_619), 0x2545f491) | 1;
  return (bytes) => {
    for (let at = 0; at < bytes.length; at++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      bytes[at] = state;
    }
  };
}
