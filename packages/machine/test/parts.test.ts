/** Devices of a user's own on the board: seen by the guest, described, reset, saved, restored, cloned, let go of. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assemble } from "@hyperfile/decoder";
import {
  type AddressMap,
  type BoardPart,
  type BusMapping,
  type DeviceState,
  type IrqLine,
  type MmioDevice,
  mmioPart,
  RAM_BASE,
  StateReader,
  virtIrq,
  virtMap,
} from "@hyperfile/devices";
import { findNode, parseTree, readCells, readStrings } from "@hyperfile/devices/fdt";
import { virtioRng } from "@hyperfile/devices/virtio";
import { tiers } from "@hyperfile/jit";
import { expect, it, onTestFinished } from "vitest";
import { type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { saveSnapshotFile } from "../src/node.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";
import { digestOf } from "./riscv-vm.js";

const codec = await zstdCodec();
const MEBIBYTE = 1 << 20;
const LIMIT = 500;
const ALARMS = 6;

/** Counts what is written to it; at each `LIMIT` it interrupts until it is acknowledged. */
class Counter implements MmioDevice {
  readonly name = "counter";
  readonly counters = { alarms: 0 };
  disposed = 0;
  readonly widths = new Set<number>();
  readonly wide = {
    read: (_offset: number, words: Uint32Array) => {
      this.widths.add(8);
      words[0] = this.count;
      words[1] = this.isRinging ? 1 : 0;
    },
    write: () => {},
  };
  private count = 0;
  private isRinging = false;

  constructor(private readonly irq: IrqLine) {}

  read(offset: number, size: number): number {
    this.widths.add(size);
    return offset === 0 ? this.count : this.isRinging ? 1 : 0;
  }
  write(offset: number): void {
    if (offset === 0 && ++this.count % LIMIT === 0) this.ring(true);
    else if (offset === 4) this.ring(false);
  }
  reset(): void {
    this.count = 0;
    this.ring(false);
  }
  save(): DeviceState {
    return { count: this.count, ringing: this.isRinging };
  }
  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    this.count = reader.integer("count", 0xffffffff);
    this.ring(reader.boolean("ringing"));
  }
  dispose(): void {
    this.disposed++;
  }
  private ring(isRinging: boolean): void {
    if (isRinging && !this.isRinging) this.counters.alarms++;
    this.isRinging = isRinging;
    this.irq.set(isRinging);
  }
}

const made: Counter[] = [];
const counter = (options: Partial<BoardPart> = {}): BoardPart => ({
  ...mmioPart({
    name: "counter",
    base: virtMap.platform.base,
    size: 0x1000,
    interrupt: virtIrq.firstPlatform,
    compatible: "acme,counter",
    make: ({ interrupts }) => {
      const device = new Counter(interrupts[0]!);
      made.push(device);
      return device;
    },
  }),
  ...options,
});

/** Prints the count at its start, counts, prints a dot at each alarm, and powers off after the last. */
const { bytes: code } = assemble(
  `
        la   t0, alarm
        csrw mtvec, t0
        li   t0, 0xc000100      # priority of source 64
        li   t1, 1
        sw   t1, 0(t0)
        li   t0, 0xc002008      # its enable bit
        sw   t1, 0(t0)
        li   t0, 0x800
        csrw mie, t0
        li   s0, 0x4000000      # the counter
        li   s1, 0x10000000     # the UART
        li   s2, ${ALARMS}
        ld   a0, 0(s0)
        addi a0, a0, '0'
        sb   a0, 0(s1)
        csrsi mstatus, 8
1:      sw   zero, 0(s0)
        addi a1, a1, 1
        j    1b
        .balign 4
alarm:  li   t0, 0xc200004
        lw   t1, 0(t0)          # claim
        lw   t2, 4(s0)
        beqz t2, 2f
        sw   zero, 4(s0)
        li   t2, '.'
        sb   t2, 0(s1)
        addi s2, s2, -1
2:      sw   t1, 0(t0)          # complete
        bnez s2, 3f
        li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
3:      mret`,
  { xlen: 64, origin: RAM_BASE },
);

/** A machine with the counter, and what it printed. */
function machineWith(options: Partial<RiscvVirtOptions> = {}) {
  const terminal = {
    text: "",
    write: (bytes: Uint8Array) => void (terminal.text += new TextDecoder().decode(bytes)),
  };
  const machine = riscvVirt({
    ramBytes: MEBIBYTE,
    boot: { code },
    console: terminal,
    parts: [counter()],
    clock: "virtual",
    slice: 400,
    instructions: 200_000,
    ...options,
  });
  return { machine, terminal };
}

const OFF = { kind: "off", status: 0 } as const;

it("a guest sees it, by accesses of the widths that it takes, and hears its interrupt", async () => {
  made.length = 0;
  const { machine, terminal } = machineWith();
  expect(await machine.run()).toEqual(OFF);
  expect(terminal.text).toBe(`0${".".repeat(ALARMS)}`);
  expect([...made[0]!.widths].sort()).toEqual([4, 8]);
  expect(machine.statistics()).toMatchObject({ devices: { counter: { alarms: ALARMS } } });
  const { root } = parseTree(machine.board.deviceTree({ isa: "rv64i", mmu: "sv39" }));
  const node = findNode(root, "/soc/counter@4000000")!;
  expect(readStrings(node.properties.compatible!)).toEqual(["acme,counter"]);
  expect(readCells(node.properties.interrupts!)).toEqual([64]);
  expect(made[0]!.disposed).toBe(0);
  machine.free();
  machine.free();
  expect(made[0]!.disposed).toBe(1);
});

it("it is saved, restored and cloned with the machine, and the run goes on as if nothing had been", async () => {
  const whole = machineWith();
  expect(await whole.machine.run()).toEqual(OFF);
  made.length = 0;
  const first = machineWith();
  first.machine.observe(() => {
    if (made[0]!.counters.alarms === 3) first.machine.stop("seen");
  });
  expect(await first.machine.run()).toEqual({ kind: "stopped", reason: "seen" });
  const { pieces } = encodeMachine(first.machine.state, codec);
  const alarms = first.terminal.text.length - 1;

  const second = machineWith();
  restoreMachine(Buffer.concat(pieces), second.machine.state, codec);
  const third = {
    text: "",
    write: (bytes: Uint8Array) => void (third.text += new TextDecoder().decode(bytes)),
  };
  const clone = first.machine.clone({ console: third });
  expect(made.length).toBe(3);
  expect(new Set(made.map((device) => JSON.stringify(device.save()))).size).toBe(1);
  expect(made[0]!.save().count).toBeGreaterThan(3 * LIMIT - 1);
  expect(await second.machine.run()).toEqual(OFF);
  expect(await clone.run()).toEqual(OFF);
  for (const { text } of [second.terminal, third]) expect(text).toBe(".".repeat(ALARMS - alarms));
  expect([second.machine.retired(), clone.retired()]).toEqual(Array(2).fill(whole.machine.retired()));
  clone.free();
  expect(made.map(({ disposed }) => disposed)).toEqual([0, 0, 1]);
});

it("it is reset with the machine", async () => {
  made.length = 0;
  const { machine, terminal } = machineWith();
  machine.observe(() => {
    if (made[0]!.counters.alarms === 2 && machine.loop.counters.resets === 0) machine.reset();
  });
  expect(await machine.run()).toEqual(OFF);
  expect(terminal.text).toBe(`0..0${".".repeat(ALARMS)}`);
  expect(made).toHaveLength(1);
});

it("a snapshot of a machine with other parts is refused by their names", async () => {
  const { machine } = machineWith();
  const { pieces } = encodeMachine(machine.state, codec);
  const message = 'devices "console entropy balloon counter", this machine "console entropy balloon"';
  expect(() =>
    restoreMachine(Buffer.concat(pieces), machineWith({ parts: [] }).machine.state, codec),
  ).toThrow(message);
});

it("what does not fit beside the board's parts is refused, and nothing is kept", () => {
  for (const [part, code, message] of [
    [
      { ranges: [virtMap.uart] },
      "E_BUS_OVERLAP",
      "counter (0x10000000 to 0x100000ff) overlaps uart0 (0x10000000 to 0x100000ff): move one of them",
    ],
    [
      { interrupts: [10] },
      "E_IRQ_TAKEN",
      "counter (at 0x4000000) wants interrupt 10, which uart0 (at 0x10000000) has: give it another",
    ],
    [{ interrupts: [96] }, "E_IRQ_SOURCE", "interrupt source 96 does not exist: use 1 to 95"],
    [
      { name: "rtc" },
      "E_PART_NAME",
      "rtc (at 0x4000000) has the name of rtc (at 0x101000): call one of them otherwise",
    ],
  ] as const) {
    made.length = 0;
    expect(() => machineWith({ parts: [counter(part)] })).toThrow(expect.objectContaining({ code, message }));
    expect(made).toEqual([]);
  }
  // Where the machine itself can't be made its devices are let go of.
  expect(() => machineWith({ boot: { code: new Uint8Array(2 * MEBIBYTE) } })).toThrow();
  expect(made.map(({ disposed }) => disposed)).toEqual([1]);
});

it("a clone that can't be made leaves no frame behind", async () => {
  let isBroken = false;
  const part = counter();
  const { machine } = machineWith({
    parts: [
      {
        ...part,
        make: (context) => {
          if (isBroken) throw new Error("only one of these");
          return part.make(context);
        },
      },
    ],
  });
  await machine.run();
  const { pool } = machine.memory;
  const before = pool.used;
  isBroken = true;
  expect(() => machine.clone()).toThrow("only one of these");
  expect(pool.used).toBe(before);
});

it("a device whose answers come later is waited for, and holds new work back while it is drained", async () => {
  const answers: (() => void)[] = [];
  let isHeld = false;
  const slow: BoardPart = mmioPart({
    name: "slow",
    base: virtMap.platform.base,
    size: 0x1000,
    interrupt: virtIrq.firstPlatform,
    make: ({ interrupts }) => {
      const line = interrupts[0]!;
      let asked = 0;
      const idle: (() => void)[] = [];
      return {
        counters: {},
        read: () => asked,
        write: (offset: number) => {
          if (offset === 4) line.set(false);
          else if (!isHeld) {
            asked++;
            answers.push(() => {
              asked--;
              line.set(true);
              for (const resolve of idle.splice(0)) resolve();
            });
          }
        },
        get busy() {
          return asked > 0;
        },
        drain: () => {
          isHeld = true;
          return {
            drained: asked === 0 ? Promise.resolve() : new Promise<void>((resolve) => idle.push(resolve)),
            release: () => {
              isHeld = false;
            },
          };
        },
        reset: () => {},
        save: () => {
          if (asked > 0) throw new Error("still asking");
          return {};
        },
        restore: () => {},
      };
    },
  });
  const { bytes } = assemble(
    `   li t0, 0xc000100
        li t1, 1
        sw t1, 0(t0)
        li t0, 0xc002008
        sw t1, 0(t0)
        li t0, 0x800
        csrw mie, t0
        li s0, 0x4000000
        sw zero, 0(s0)
        wfi
        li t0, 0x100000
        li t1, 0x5555
        sw t1, 0(t0)
        j .`,
    { xlen: 64, origin: RAM_BASE },
  );
  const releases: string[] = [];
  const gate = {
    acquire: async () => {},
    mayContinue: () => true,
    cancel: () => {},
    release: (wish: string) => void releases.push(wish),
  };
  const { machine } = machineWith({ parts: [slow], boot: { code: bytes }, clock: "host", gate: () => gate });
  const run = machine.run();
  while (answers.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  machine.pause();
  expect(() => encodeMachine(machine.state, codec)).toThrow("still asking");
  expect(() => machine.clone()).toThrow("still asking");
  const folder = mkdtempSync(join(tmpdir(), "hyperfile-parts-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const saving = saveSnapshotFile(join(folder, "slow"), machine.state);
  while (!isHeld) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(machine.board.busy()).toBe(true);
  answers[0]!();
  expect((await saving).sections).toBeGreaterThan(0);
  expect([isHeld, machine.board.busy()]).toEqual([false, false]);
  const drain = machine.drain();
  await drain.drained;
  expect(isHeld).toBe(true);
  drain.release();
  machine.resume();
  expect(await run).toEqual(OFF);
  // Its guest waited for a device, which is not the same as having nothing to do.
  expect(releases).toContain("waiting");
  expect(releases).not.toContain("idle");
});

it("a state that nobody would read back is not saved, unless its part has declared its size", () => {
  const screen = (size: number): BoardPart => {
    let pixels = new Uint8Array(size);
    return {
      name: "screen",
      make: () => ({
        counters: {},
        reset: () => {},
        save: () => ({ pixels }),
        restore: (state) => {
          pixels = state.pixels as typeof pixels;
        },
      }),
    };
  };
  const made = (part: BoardPart) => machineWith({ parts: [part] }).machine;
  expect(() => encodeMachine(made(screen(2 * MEBIBYTE)).state, codec)).toThrow(
    expect.objectContaining({
      code: "E_SNAPSHOT_SIZE",
      message: expect.stringMatching(
        /^the state of board is too large .* than the 1048576 that are read; let the part/,
      ),
    }),
  );
  const large = { ...screen(2 * MEBIBYTE), stateBytes: 2 * MEBIBYTE };
  const machine = made(large);
  const { pieces } = encodeMachine(machine.state, codec);
  const copy = made(large);
  restoreMachine(Buffer.concat(pieces), copy.state, codec);
  expect(copy.board.save().screen).toEqual(machine.board.save().screen);
});

it("a virtio device of one's own is made anew for each clone", async () => {
  let count = 0;
  const { machine } = machineWith({
    devices: [
      "console",
      () => {
        count++;
        return virtioRng({ entropy: (bytes) => bytes.fill(count) });
      },
    ],
  });
  expect(Object.keys(machine.board.save())).toContain("virtio1:rng");
  machine.clone();
  expect(count).toBe(2);
});

/** Registers that the guest places where it wants them, as a PCI function's are; they count the stores to them. */
class Roamer implements MmioDevice {
  readonly name = "roamer";
  readonly counters = { moves: 0, refused: 0 };
  private sum = 0;
  private readonly window: BusMapping;

  constructor(bus: AddressMap) {
    this.window = bus.map(
      undefined,
      0x100,
      {
        read: () => this.sum,
        write: (_offset, _size, value) => {
          this.sum = (this.sum + value) >>> 0;
        },
      },
      "the roamer's window",
    );
  }

  read(): number {
    return this.window.base ?? 0;
  }
  write(_offset: number, _size: number, value: number): void {
    if (this.window.move(value >>> 0)) this.counters.moves++;
    else this.counters.refused++;
  }
  reset(): void {
    this.sum = 0;
    this.window.unmap();
  }
  save(): DeviceState {
    return { base: this.window.base ?? 0, sum: this.sum };
  }
  restore(state: DeviceState): void {
    const reader = new StateReader(this.name, state);
    const base = reader.integer("base", 0xffffffff);
    this.sum = reader.integer("sum", 0xffffffff);
    if (base === 0) this.window.unmap();
    else this.window.move(base);
  }
}

it.each(tiers)(
  "registers that move while the guest runs are saved and cloned where they are, in tier %s",
  async (tier) => {
    const [CONTROL, FIRST, ALL, PART] = [
      virtMap.platform.base,
      virtMap.platform.base + 0x10000,
      60_000,
      27_011,
    ];
    // Each round places the window elsewhere, once where the UART is; stores into it, and reads the sum that it has.
    const { bytes } = assemble(
      `
        li   s0, ${CONTROL}
        li   s1, ${FIRST}
        li   s3, 0x10000000
1:      andi t0, a0, 31
        slli t0, t0, 8
        add  t0, t0, s1
        sw   t0, 0(s0)
        sw   s3, 0(s0)          # refused: the window stays where it is
        lw   t1, 0(s0)
        bne  t1, t0, wrong
        sw   a0, 0x40(t0)
        lw   a1, 0x80(t0)
        addi a0, a0, 1
        j    1b
wrong:  li   a0, -1
        j    wrong`,
      { xlen: 64, origin: RAM_BASE },
    );
    const roamers: Roamer[] = [];
    const part = mmioPart({
      name: "roamer",
      base: CONTROL,
      size: 0x1000,
      compatible: "acme,roamer",
      make: ({ bus }) => {
        const roamer = new Roamer(bus);
        roamers.push(roamer);
        return roamer;
      },
    });
    const make = (instructions: number) =>
      machineWith({ tier, hotThreshold: 8, boot: { code: bytes }, parts: [part], instructions }).machine;
    const STOPPED = { kind: "stopped", reason: "instructions" } as const;
    const whole = make(ALL);
    expect(await whole.run()).toEqual(STOPPED);
    const rounds = whole.cpu.hart.readXLow(10);
    expect(rounds).toBeGreaterThan(ALL / 16);
    expect(roamers[0]!.counters.moves - rounds).toBeOneOf([0, 1]);
    expect(roamers[0]!.counters.refused - rounds).toBeOneOf([0, 1]);
    expect(roamers[0]!.save().sum).toBeGreaterThan((rounds * (rounds - 3)) / 2);

    const first = make(PART);
    expect(await first.run()).toEqual(STOPPED);
    const restored = make(ALL);
    restoreMachine(Buffer.concat(encodeMachine(first.state, codec).pieces), restored.state, codec);
    expect(roamers[2]!.save()).toEqual(roamers[1]!.save());
    expect(await restored.run()).toEqual(STOPPED);
    expect([digestOf(restored), roamers[2]!.save()]).toEqual([digestOf(whole), roamers[0]!.save()]);

    const clone = first.clone({ name: "" });
    expect(roamers[3]!.save()).toEqual(roamers[1]!.save());
    clone.load();
    while (clone.retired() < ALL) clone.cpu.run(ALL - clone.retired());
    expect(roamers[3]!.save()).toEqual(roamers[0]!.save());
    // The original's window has stayed.
    expect(roamers[1]!.save()).not.toEqual(roamers[3]!.save());
  },
);
