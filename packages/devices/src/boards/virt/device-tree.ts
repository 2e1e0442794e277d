/**
 * The board's device tree: the nodes and properties that QEMU's `virt` has for the devices that are here, and the
 * ISA in both forms, `riscv,isa` and the lists that newer kernels prefer.
 *
 * Phandles count up from 1: each hart and its interrupt controller, the PLIC, the test finisher.
 */
import { BoardError } from "../../errors.js";
import { cells64, type FdtNode, flattenTree } from "../../fdt/fdt.js";
import { GENERATION_BYTES } from "../../generation/vm-generation.js";
import { PLIC_SOURCES } from "../../irq/plic.js";
import { FINISHER_PASS, FINISHER_RESET } from "../../power/test-finisher.js";
import { RAM_BASE, TIMEBASE_FREQUENCY, VIRTIO_SLOTS, virtIrq, virtMap } from "./memory-map.js";

/** What varies between machines. */
export interface VirtTreeOptions {
  /** For instance `rv64imafdc_zicsr_zifencei`; `g` is spelt out in the tree. */
  readonly isa: string;
  /** Deepest paging scheme. */
  readonly mmu: "sv32" | "sv39" | "sv48" | "sv57" | "none";
  /** Number of harts; their ids count from 0. */
  readonly harts: number;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  /** The kernel's command line. */
  readonly bootargs?: string;
  /** Guest-physical range of the initial RAM disk; `end` is past its last byte. */
  readonly initrd?: { readonly start: number; readonly end: number };
  /** Entropy for the kernel's generator. */
  readonly rngSeed?: Uint8Array;
}

const phandleOfHart = (hart: number): number => 1 + 2 * hart;
const phandleOfIntc = (hart: number): number => 2 + 2 * hart;
const MACHINE_SOFTWARE = 3;
const MACHINE_TIMER = 7;
const SUPERVISOR_EXTERNAL = 9;
const MACHINE_EXTERNAL = 11;
const UART_CLOCK = 3_686_400;

const at = (name: string, base: number): string => `${name}@${base.toString(16)}`;
const reg = (range: { base: number; size: number }): number[] => [
  ...cells64(range.base),
  ...cells64(range.size),
];

/** An ISA string in the two forms that kernels read. */
interface IsaDescription {
  /** For `riscv,isa`, without `g`, which is only a short form. */
  readonly string: string;
  readonly base: string;
  readonly extensions: readonly string[];
}

/** @throws BoardError (`E_ISA`) */
function describeIsa(isa: string): IsaDescription {
  const match = /^(rv32|rv64)([ig])([a-z]*)((?:_[a-z][a-z0-9]*)*)$/.exec(isa);
  if (match === null) {
    throw new BoardError("E_ISA", `"${isa}" is not an ISA string: write it like rv64imafdc_zicsr_zifencei`);
  }
  const [, width = "", general, letters = "", rest = ""] = match;
  const named = rest.split("_").slice(1);
  const implied = general === "g" ? ["zicsr", "zifencei"].filter((name) => !named.includes(name)) : [];
  const single = general === "g" ? `imafd${letters}` : `i${letters}`;
  return {
    string: [`${width}${single}`, ...implied, ...named].join("_"),
    base: `${width}i`,
    extensions: [...single, ...implied, ...named],
  };
}

/**
 * Builds the tree.
 * @throws BoardError (`E_ISA`) on a malformed ISA string
 */
export function virtDeviceTree(options: VirtTreeOptions): Uint8Array {
  const { harts, mmu } = options;
  const plicPhandle = 1 + 2 * harts;
  const testPhandle = plicPhandle + 1;
  const isa = describeIsa(options.isa);
  const eachHart = Array.from({ length: harts }, (_, hart) => hart);

  const cpus: FdtNode = {
    name: "cpus",
    properties: { "#address-cells": 1, "#size-cells": 0, "timebase-frequency": TIMEBASE_FREQUENCY },
    children: [
      ...eachHart.map(
        (hart): FdtNode => ({
          name: at("cpu", hart),
          properties: {
            phandle: phandleOfHart(hart),
            device_type: "cpu",
            reg: hart,
            status: "okay",
            compatible: "riscv",
            "riscv,isa-base": isa.base,
            "riscv,isa-extensions": isa.extensions,
            "riscv,isa": isa.string,
            "mmu-type": `riscv,${mmu}`,
          },
          children: [
            {
              name: "interrupt-controller",
              properties: {
                "#interrupt-cells": 1,
                "interrupt-controller": true,
                compatible: "riscv,cpu-intc",
                phandle: phandleOfIntc(hart),
              },
            },
          ],
        }),
      ),
      {
        name: "cpu-map",
        properties: {},
        children: [
          {
            name: "cluster0",
            properties: {},
            children: eachHart.map((hart) => ({
              name: `core${hart}`,
              properties: { cpu: phandleOfHart(hart) },
            })),
          },
        ],
      },
    ],
  };

  const soc: FdtNode = {
    name: "soc",
    properties: { "#address-cells": 2, "#size-cells": 2, compatible: "simple-bus", ranges: true },
    children: [
      {
        name: at("test", virtMap.test.base),
        properties: {
          phandle: testPhandle,
          reg: reg(virtMap.test),
          compatible: ["sifive,test1", "sifive,test0", "syscon"],
        },
      },
      {
        name: at("rtc", virtMap.rtc.base),
        properties: {
          interrupts: virtIrq.rtc,
          "interrupt-parent": plicPhandle,
          reg: reg(virtMap.rtc),
          compatible: "google,goldfish-rtc",
        },
      },
      {
        name: at("vmgenid", virtMap.generation.base),
        properties: {
          interrupts: virtIrq.generation,
          "interrupt-parent": plicPhandle,
          reg: reg({ base: virtMap.generation.base, size: GENERATION_BYTES }),
          compatible: "microsoft,vmgenid",
        },
      },
      {
        name: at("clint", virtMap.clint.base),
        properties: {
          "interrupts-extended": eachHart.flatMap((hart) => [
            phandleOfIntc(hart),
            MACHINE_SOFTWARE,
            phandleOfIntc(hart),
            MACHINE_TIMER,
          ]),
          reg: reg(virtMap.clint),
          compatible: ["sifive,clint0", "riscv,clint0"],
        },
      },
      {
        name: at("plic", virtMap.plic.base),
        properties: {
          phandle: plicPhandle,
          "riscv,ndev": PLIC_SOURCES,
          reg: reg(virtMap.plic),
          "interrupts-extended": eachHart.flatMap((hart) => [
            phandleOfIntc(hart),
            MACHINE_EXTERNAL,
            phandleOfIntc(hart),
            SUPERVISOR_EXTERNAL,
          ]),
          "interrupt-controller": true,
          compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
          "#address-cells": 0,
          "#interrupt-cells": 1,
        },
      },
      {
        name: at("serial", virtMap.uart.base),
        properties: {
          interrupts: virtIrq.uart,
          "interrupt-parent": plicPhandle,
          "clock-frequency": UART_CLOCK,
          reg: reg(virtMap.uart),
          compatible: "ns16550a",
        },
      },
      ...Array.from({ length: VIRTIO_SLOTS }, (_, slot): FdtNode => {
        const slotBase = virtMap.virtio.base + slot * virtMap.virtio.size;
        return {
          name: at("virtio_mmio", slotBase),
          properties: {
            interrupts: virtIrq.firstVirtio + slot,
            "interrupt-parent": plicPhandle,
            reg: reg({ base: slotBase, size: virtMap.virtio.size }),
            compatible: "virtio,mmio",
          },
        };
      }),
    ],
  };

  return flattenTree({
    name: "",
    properties: {
      "#address-cells": 2,
      "#size-cells": 2,
      compatible: "riscv-virtio",
      model: "riscv-virtio,qemu",
    },
    children: [
      {
        name: "chosen",
        properties: {
          ...(options.bootargs === undefined ? {} : { bootargs: options.bootargs }),
          ...(options.initrd === undefined
            ? {}
            : {
                "linux,initrd-start": cells64(options.initrd.start),
                "linux,initrd-end": cells64(options.initrd.end),
              }),
          ...(options.rngSeed === undefined ? {} : { "rng-seed": options.rngSeed }),
          "stdout-path": `/soc/${at("serial", virtMap.uart.base)}`,
        },
      },
      {
        name: at("memory", RAM_BASE),
        properties: { device_type: "memory", reg: reg({ base: RAM_BASE, size: options.ramBytes }) },
      },
      cpus,
      {
        name: "poweroff",
        properties: { value: FINISHER_PASS, offset: 0, regmap: testPhandle, compatible: "syscon-poweroff" },
      },
      {
        name: "reboot",
        properties: { value: FINISHER_RESET, offset: 0, regmap: testPhandle, compatible: "syscon-reboot" },
      },
      soc,
    ],
  });
}
