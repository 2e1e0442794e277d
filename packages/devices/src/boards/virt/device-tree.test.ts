import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FakeClock, FakeConsole, FakeHart, noMemory } from "../../../test/fakes.js";
import { findNode, type ParsedNode, parseTree, readCells, readStrings } from "../../fdt/parse.js";
import { type BoardPart, mmioPart } from "../part.js";
import type { VirtTreeOptions } from "./device-tree.js";
import { virtBoard } from "./virt.js";

const options: VirtTreeOptions = { isa: "rv64imafdc_zicsr", mmu: "sv48", harts: 2, ramBytes: 0x10000000 };
const bytes = (changes: Partial<VirtTreeOptions> = {}, parts: readonly BoardPart[] = []): Uint8Array =>
  virtBoard({
    memory: noMemory,
    ramBytes: changes.ramBytes ?? options.ramBytes,
    harts: [new FakeHart(), new FakeHart()],
    clock: new FakeClock(),
    console: new FakeConsole(),
    onPower: () => {},
    parts,
  }).deviceTree({ ...options, ...changes });
const tree = (changes: Partial<VirtTreeOptions> = {}, parts: readonly BoardPart[] = []): ParsedNode =>
  parseTree(bytes(changes, parts)).root;
const strings = (root: ParsedNode, path: string, property: string): string[] =>
  readStrings(findNode(root, path)!.properties[property]!);
const cells = (root: ParsedNode, path: string, property: string): number[] =>
  readCells(findNode(root, path)!.properties[property]!);

test("the kernel's parameters are in /chosen", () => {
  const root = tree({
    bootargs: "console=ttyS0 quiet",
    initrd: { start: 0x88000000, end: 0x88123456 },
    rngSeed: Uint8Array.of(1, 2, 3),
  });
  expect(strings(root, "/chosen", "stdout-path")).toEqual(["/soc/serial@10000000"]);
  expect(strings(root, "/chosen", "bootargs")).toEqual(["console=ttyS0 quiet"]);
  expect(cells(root, "/chosen", "linux,initrd-start")).toEqual([0, 0x88000000]);
  expect(cells(root, "/chosen", "linux,initrd-end")).toEqual([0, 0x88123456]);
  expect(findNode(root, "/chosen")!.properties["rng-seed"]).toEqual(Uint8Array.of(1, 2, 3));
  expect(Object.keys(findNode(tree(), "/chosen")!.properties)).toEqual(["stdout-path"]);
});

test("RAM above 4 GiB takes two cells", () => {
  const root = tree({ ramBytes: 6 * 2 ** 30 });
  expect(cells(root, "/memory@80000000", "reg")).toEqual([0, 0x80000000, 1, 0x80000000]);
});

test("the ISA is told in both forms, with g spelt out", () => {
  for (const [isa, string, base, extensions] of [
    ["rv64imafdc_zicsr", "rv64imafdc_zicsr", "rv64i", ["i", "m", "a", "f", "d", "c", "zicsr"]],
    [
      "rv64gc_zba",
      "rv64imafdc_zicsr_zifencei_zba",
      "rv64i",
      ["i", "m", "a", "f", "d", "c", "zicsr", "zifencei", "zba"],
    ],
    ["rv32g_zifencei", "rv32imafd_zicsr_zifencei", "rv32i", ["i", "m", "a", "f", "d", "zicsr", "zifencei"]],
  ] as const) {
    const root = tree({ isa });
    expect(strings(root, "/cpus/cpu@1", "riscv,isa")).toEqual([string]);
    expect(strings(root, "/cpus/cpu@1", "riscv,isa-base")).toEqual([base]);
    expect(strings(root, "/cpus/cpu@1", "riscv,isa-extensions")).toEqual(extensions);
  }
});

test("a malformed ISA string is refused", () => {
  for (const isa of ["", "rv64", "rv128i", "RV64I", "rv64i zba", "rv64imac_", "rv64i_1"]) {
    expect(() => tree({ isa })).toThrow(expect.objectContaining({ code: "E_ISA" }));
  }
});

test("every phandle is unique, and every reference leads to the right node", () => {
  const root = tree();
  const homes = new Map<number, string>();
  walk(root, "", (path, node) => {
    if (node.properties.phandle === undefined) return;
    const [phandle = 0] = readCells(node.properties.phandle);
    expect(homes.has(phandle)).toBe(false);
    homes.set(phandle, path);
  });
  const home = (path: string, property: string, index = 0): string | undefined =>
    homes.get(cells(root, path, property)[index]!);
  expect(home("/poweroff", "regmap")).toBe("/soc/test@100000");
  expect(home("/reboot", "regmap")).toBe("/soc/test@100000");
  for (const device of ["serial@10000000", "rtc@101000", "virtio_mmio@10008000"]) {
    expect(home(`/soc/${device}`, "interrupt-parent")).toBe("/soc/plic@c000000");
  }
  expect(home("/cpus/cpu-map/cluster0/core1", "cpu")).toBe("/cpus/cpu@1");
  for (const device of ["clint@2000000", "plic@c000000"]) {
    expect(home(`/soc/${device}`, "interrupts-extended", 0)).toBe("/cpus/cpu@0/interrupt-controller");
    expect(home(`/soc/${device}`, "interrupts-extended", 4)).toBe("/cpus/cpu@1/interrupt-controller");
  }
});

/** A device that is only described. */
const nobody = {
  read: () => 0,
  write: () => {},
  reset: () => {},
  save: () => ({}),
  restore: () => {},
  counters: {},
};

test("each hart has the properties that its extensions ask for", () => {
  const root = tree({ hartProperties: { "riscv,cboz-block-size": 64 } });
  for (const hart of [0, 1])
    expect(findNode(root, `/cpus/cpu@${hart}`)?.properties["riscv,cboz-block-size"]).toEqual(
      Uint8Array.of(0, 0, 0, 64),
    );
});

test("a part of one's own has its node among the others, and may refer to them and be referred to", () => {
  const timer = mmioPart({
    name: "timer0",
    base: 0x4000000,
    size: 0x1000,
    interrupt: 64,
    compatible: ["acme,timer2", "acme,timer"],
    node: "timer",
    properties: { "acme,taps": [1, 2] },
    make: () => nobody,
  });
  const board: BoardPart = {
    name: "lamps",
    ranges: [
      { base: 0x4001000, size: 0x100 },
      { base: 0x5_0000_0000, size: 0x2000 },
    ],
    interrupts: [65, 66],
    nodes: ({ properties, phandle, hart, harts }) => ({
      soc: [
        {
          name: "lamps@4001000",
          properties: { ...properties, phandle: phandle("lamps"), hart: hart(harts - 1) },
        },
      ],
      root: [{ name: "lamp-reset", properties: { regmap: phandle("lamps"), power: phandle("test") } }],
      chosen: { "acme,lamps": "/soc/lamps@4001000" },
    }),
    make: () => ({ ...nobody, registers: [nobody, nobody] }),
  };
  const root = tree({}, [board, timer]);
  const soc = findNode(root, "/soc")!.children.map(({ name }) => name);
  expect(soc.slice(2, 7)).toEqual([
    "vmgenid@102000",
    "clint@2000000",
    "timer@4000000",
    "lamps@4001000",
    "plic@c000000",
  ]);
  expect(strings(root, "/soc/timer@4000000", "compatible")).toEqual(["acme,timer2", "acme,timer"]);
  expect(cells(root, "/soc/timer@4000000", "reg")).toEqual([0, 0x4000000, 0, 0x1000]);
  expect(cells(root, "/soc/timer@4000000", "interrupts")).toEqual([64]);
  expect(cells(root, "/soc/timer@4000000", "acme,taps")).toEqual([1, 2]);
  expect(cells(root, "/soc/lamps@4001000", "reg")).toEqual([0, 0x4001000, 0, 0x100, 5, 0, 0, 0x2000]);
  expect(cells(root, "/soc/lamps@4001000", "interrupts")).toEqual([65, 66]);
  expect(strings(root, "/chosen", "acme,lamps")).toEqual(["/soc/lamps@4001000"]);
  for (const device of ["timer@4000000", "lamps@4001000"])
    expect(cells(root, `/soc/${device}`, "interrupt-parent")).toEqual(
      cells(root, "/soc/plic@c000000", "phandle"),
    );
  expect(cells(root, "/lamp-reset", "regmap")).toEqual(cells(root, "/soc/lamps@4001000", "phandle"));
  expect(cells(root, "/lamp-reset", "power")).toEqual(cells(root, "/soc/test@100000", "phandle"));
  expect(cells(root, "/soc/lamps@4001000", "hart")).toEqual(
    cells(root, "/cpus/cpu@1/interrupt-controller", "phandle"),
  );
  const lost: BoardPart = {
    name: "lost",
    nodes: ({ phandle }) => ({ soc: [{ name: "lost", properties: { regmap: phandle("lamp") } }] }),
    make: () => nobody,
  };
  expect(() => tree({}, [lost])).toThrow("no part is called lamp: nodes can't refer to it");
});

test("it has what QEMU's tree has for the same devices", (context) => {
  const reference = qemuTree();
  if (reference === undefined) {
    context.skip("qemu-system-riscv64 is not installed");
    return;
  }
  const root = tree();
  // Properties whose values are numbered or spelt differently from one version of QEMU to the next.
  const free = new Set([
    "phandle",
    "cpu",
    "regmap",
    "interrupt-parent",
    "interrupts-extended",
    "riscv,isa",
    "riscv,isa-base",
    "riscv,isa-extensions",
    "mmu-type",
    "rng-seed",
    "riscv,ndev",
  ]);
  const known = new Set(["poweroff", "reboot", "memory@80000000", "chosen", "cpus", "soc"]);
  let compared = 0;
  walk(reference, "", (path, node) => {
    const [top = ""] = path.slice(1).split("/");
    if (path !== "" && (!known.has(top) || path.startsWith("/soc/pci") || /\/cpus\/.*-cache/.test(path)))
      return;
    const ours = findNode(root, path);
    expect(ours, `node ${path}`).toBeDefined();
    for (const [name, value] of Object.entries(node.properties)) {
      if (free.has(name) || name.startsWith("riscv,cbo")) continue;
      expect([...(ours!.properties[name] ?? [])], `${path} ${name}`).toEqual([...value]);
      compared++;
    }
  });
  expect(compared).toBeGreaterThan(60);
});

test("dtc has no complaint beyond those that it has about QEMU's tree", (context) => {
  const run = spawnSync("dtc", ["-I", "dtb", "-O", "dts"], { input: bytes() });
  if (run.error !== undefined) {
    context.skip("dtc is not installed: apt install device-tree-compiler");
    return;
  }
  expect(run.status).toBe(0);
  expect(run.stderr.toString()).not.toMatch(/ERROR|phandle|ranges_format|reg_format/);
});

/** The tree that QEMU makes for its `virt` machine; undefined where QEMU is not installed. */
function qemuTree(): ParsedNode | undefined {
  const folder = mkdtempSync(join(tmpdir(), "hyperfile-"));
  try {
    const file = join(folder, "virt.dtb");
    const run = spawnSync(
      "qemu-system-riscv64",
      ["-M", `virt,dumpdtb=${file}`, "-m", "256M", "-smp", "2", "-nographic"],
      {
        timeout: 60_000,
      },
    );
    return run.error === undefined ? parseTree(readFileSync(file)).root : undefined;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function walk(node: ParsedNode, path: string, visit: (path: string, node: ParsedNode) => void): void {
  visit(path, node);
  for (const child of node.children) walk(child, `${path}/${child.name}`, visit);
}
