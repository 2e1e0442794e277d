/**
 * The broker's guests: machines in a pool of frames that their clones share. Clones take turns on the original's engine,
 * so that what is translated once serves all.
 */

import type { VmSpec } from "@hyperfile/broker";
import type {
  BackupReport,
  BackupTarget,
  Guest,
  GuestEnd,
  GuestMemoryParts,
  GuestMemoryUsage,
  GuestSurroundings,
  MakeGuest,
} from "@hyperfile/broker/guest";
import { RAM_BASE } from "@hyperfile/devices";
import { guestIn, poolAt, type SharedFrames, type ThreadPlace } from "@hyperfile/jit/memory";
import { type MachineEnd, type Nic, type RiscvVirt, riscvVirt } from "@hyperfile/machine";
import { AgentClient, GuestTidings } from "@hyperfile/machine/agent";
import { restoreSnapshotFile, saveSnapshotFile } from "@hyperfile/machine/node";
import { drainMachine, whileDrained, zstdCodec } from "@hyperfile/machine/snapshot";
import { CliError } from "../errors.js";
import { readBootFiles } from "./boot-files.js";
import { GuestDisks } from "./guest-disks.js";
import { guestNics } from "./guest-nics.js";
import { GuestShares } from "./guest-shares.js";

/** Slots for virtio devices, and those devices that every machine has: console, random numbers, balloon. */
const [VIRTIO_SLOTS, OTHER_DEVICES] = [8, 3];
/** Bytes of RAM of a machine that runs nothing. */
const SMALL = 65_536;

/** Makes guests for the broker. */
export const makeGuest: MakeGuest = async (spec, surroundings, { folder, place }) => {
  const { xlen, images } = await readBootFiles(spec, folder);
  const thread = threadAt(place as ThreadPlace);
  const { pool, first } = thread;
  if (first !== undefined && first.xlen !== xlen) {
    throw new CliError(
      "E_MACHINE",
      `VM ${spec.name} is for RV${xlen} and others of group ${spec.group} are not: put it in another group`,
    );
  }
  const compose: Compose = (name, around, { disks, shares, nics }) => {
    const memory = guestIn(pool, { ramBytes: spec.memoryBytes, ramBase: RAM_BASE });
    try {
      const machine = riscvVirt({
        ...surroundingsOf(name, around),
        ramBytes: spec.memoryBytes,
        boot: images,
        xlen,
        tier: spec.tier,
        clock: spec.deterministic ? "virtual" : spec.clock,
        ...(spec.drainMs === undefined ? {} : { drainMs: spec.drainMs }),
        memory,
        drives: disks.drives,
        shares: shares.shares,
        nics,
        ...(mayHaveAgent(spec) && hasFreeSlot(disks, shares, nics) ? { vsock: {} } : {}),
        ...(thread.first === undefined ? {} : { beside: thread.first }),
      });
      // The size that a driver of the virtio console finds; who connects a terminal may change it.
      machine.resize(spec.console.columns, spec.console.rows);
      thread.first ??= machine;
      return machine;
    } catch (error) {
      memory.guest.free();
      throw error;
    }
  };
  const disks = await GuestDisks.open(spec, folder, surroundings.disk);
  const nics = guestNics(surroundings.cables);
  return guestOn(await attach(disks, nics, () => GuestShares.open(spec.shares, folder)), (attached) => {
    const machine = compose(spec.name, surroundings, attached);
    return new MachineGuest(spec, machine, pool.frames, attached, compose);
  });
};

/** Whether programs of the host can talk with those of a guest: not in virtual time, nor with guests that have no driver. */
const mayHaveAgent = ({ deterministic, boot: { program, kernel } }: VmSpec): boolean =>
  !deterministic &&
  program === undefined &&
  !(kernel !== undefined && "builtin" in kernel && kernel.builtin === "embedded");

/** Whether disks, folders and cards leave a slot for a device more. */
const hasFreeSlot = ({ drives }: GuestDisks, { shares }: GuestShares, nics: readonly Nic[]): boolean =>
  drives.length + shares.length + nics.length + OTHER_DEVICES < VIRTIO_SLOTS;

/** Makes a machine with disks and folders in the thread's memory. */
type Compose = (name: string, surroundings: GuestSurroundings, attached: Attached) => RiscvVirt;

/** What a guest has of the host. */
interface Attached {
  readonly disks: GuestDisks;
  readonly shares: GuestShares;
  readonly nics: readonly Nic[];
}

/** Folders beside disks, which are closed if a folder can't be had. */
async function attach(
  disks: GuestDisks,
  nics: readonly Nic[],
  open: () => Promise<GuestShares>,
): Promise<Attached> {
  try {
    return { disks, nics, shares: await open() };
  } catch (error) {
    await disks.close().catch(() => {});
    throw error;
  }
}

/** A guest that has disks and folders from now on; they are closed if it can't be made. */
async function guestOn(attached: Attached, make: (attached: Attached) => Guest): Promise<Guest> {
  try {
    return make(attached);
  } catch (error) {
    attached.shares.close();
    await attached.disks.close().catch(() => {});
    throw error;
  }
}

/**
 * Makes the start of a thread's first guest shorter: the engine's modules are compiled once for a process, and its own code
 * runs faster the second time.
 */
export async function prepareThread(): Promise<void> {
  riscvVirt({ ramBytes: SMALL });
  await zstdCodec();
}

/** What the VMs of a thread have in common; they take turns on the engine of the first. */
interface ThreadMachines {
  readonly pool: ReturnType<typeof poolAt>;
  first: RiscvVirt | undefined;
}
const threads = new WeakMap<ThreadPlace, ThreadMachines>();

function threadAt(place: ThreadPlace): ThreadMachines {
  const known = threads.get(place) ?? { pool: poolAt(place), first: undefined };
  threads.set(place, known);
  return known;
}

const surroundingsOf = (name: string, { console, gate, steal }: GuestSurroundings) => ({
  name,
  console,
  gate,
  steal,
});

/** A machine as the broker manages it. */
class MachineGuest implements Guest {
  readonly memory: GuestMemoryParts;
  private readonly disks: GuestDisks;
  private readonly shares: GuestShares;
  private readonly nics: readonly Nic[];
  private readonly tidings: GuestTidings;
  /** Tells the guest what has become of it, when it runs. */
  private tell: (tidings: GuestTidings) => Promise<void> = async () => {};
  readonly connect?: NonNullable<Guest["connect"]>;
  readonly powerOff?: NonNullable<Guest["powerOff"]>;

  constructor(
    private readonly spec: VmSpec,
    private readonly machine: RiscvVirt,
    private readonly frames: SharedFrames,
    attached: Attached,
    private readonly compose: Compose,
  ) {
    this.disks = attached.disks;
    this.shares = attached.shares;
    this.nics = attached.nics;
    this.tidings = new GuestTidings(machine, spec.clock === "host");
    const { vsock } = machine;
    if (vsock !== undefined) {
      const connect = vsock.connect.bind(vsock);
      this.connect = connect;
      this.powerOff = (timeoutMs) => new AgentClient(connect, { timeoutMs }).powerOff();
    }
    this.memory = {
      frames: machine.memory.pool,
      common: { yield: () => frames.yield(), awaitRelease: (ms) => frames.table.awaitRelease(ms) },
      memory: machine.memory.guest,
      balloon: machine.balloon!,
      reservedFrame: () => machine.cpu.reservedFrame,
    };
  }

  async run(): Promise<GuestEnd> {
    const running = this.runToEnd();
    void this.tell(this.tidings);
    const end = await running;
    switch (end.kind) {
      case "off":
        return end;
      case "stuck":
        return { kind: "error", status: 1, message: end.message };
      case "stopped":
        return { kind: "stopped", status: 0, ...(end.reason === "stopped" ? {} : { message: end.reason }) };
    }
  }

  /** Its run is over when its disks are durable and given back: the daemon gives them to others then. */
  private async runToEnd(): Promise<MachineEnd> {
    let end: MachineEnd;
    try {
      end = await this.machine.run();
    } catch (error) {
      await this.disks.close().catch(() => {});
      throw error;
    }
    try {
      await this.disks.close();
      return end;
    } catch (error) {
      return { kind: "stuck", message: `its disks can't be closed: ${(error as Error).message}` };
    }
  }

  receive(bytes: Uint8Array): number {
    return this.machine.receive(bytes);
  }

  resize(columns: number, rows: number): void {
    this.machine.resize(columns, rows);
  }

  standStill(): () => void {
    const since = Date.now();
    const goOn = this.machine.loop.standStill();
    return () => {
      goOn();
      void this.tidings.stoodStill(Date.now() - since);
    };
  }

  drain(): Promise<() => void> {
    return drainMachine(this.machine.state);
  }

  hold(): void {
    this.machine.hold();
  }

  release(): void {
    this.machine.release();
  }

  stop(reason: string): void {
    this.machine.stop(reason);
  }

  reset(): void {
    this.machine.reset();
  }

  retired(): number {
    return this.machine.retired();
  }

  memoryFigures(): GuestMemoryUsage {
    return this.machine.memory.guest.usage();
  }

  counters(): Readonly<Record<string, number>> {
    const { board, cpu, loop } = this.machine;
    const { counters } = cpu.engine;
    const devices = Object.entries(board.counters()).flatMap(([device, values]) =>
      Object.entries(values).map(([name, value]) => [`${device}.${name}`, value] as const),
    );
    return {
      ...Object.fromEntries(devices),
      "engine.interpreted": counters.interpreted,
      "engine.translated": counters.translated,
      "engine.translations": counters.translations,
      "vm.slices": loop.counters.slices,
      "vm.sleeps": loop.counters.sleeps,
      ...this.disks.counters(),
    };
  }

  async saveTo(path: string): Promise<{ readonly bytes: number }> {
    this.machine.board.flush();
    return saveSnapshotFile(path, this.machine.state);
  }

  backup({ disk, store, name }: BackupTarget): Promise<BackupReport> {
    return this.disks.backup(disk, store, name);
  }

  async restoreFrom(path: string): Promise<void> {
    await restoreSnapshotFile(path, this.machine.state);
    this.tell = (tidings) => tidings.restored();
  }

  clone(name: string, surroundings: GuestSurroundings): Promise<Guest> {
    return whileDrained(this.machine.state, async () => {
      const cards = guestNics(surroundings.cables, true);
      const attached = await attach(this.disks.fork(surroundings.disk), cards, () => this.shares.again());
      return guestOn(attached, ({ disks, shares, nics }) => {
        const around = { drives: disks.drives, shares: shares.shares, nics };
        const twin = this.machine.clone({ ...surroundingsOf(name, surroundings), ...around });
        const guest = new MachineGuest({ ...this.spec, name }, twin, this.frames, attached, this.compose);
        const addresses = this.nics.map(({ mac }, at) => ({ from: mac!, to: nics[at]!.mac! }));
        guest.tell = (tidings) => tidings.cloned(name, addresses);
        return guest;
      });
    });
  }

  async successor(surroundings: GuestSurroundings): Promise<Guest> {
    const { spec, frames, compose } = this;
    const attached = await attach(await this.disks.successors(), this.nics, () => this.shares.again());
    return guestOn(attached, () => {
      return new MachineGuest(spec, compose(spec.name, surroundings, attached), frames, attached, compose);
    });
  }

  free(): void {
    // A guest that has not run has its disks yet.
    void this.disks.close().catch(() => {});
    this.machine.free();
    this.shares.close();
  }
}
