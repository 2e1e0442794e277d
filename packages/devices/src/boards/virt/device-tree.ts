/** The board's device tree, with the nodes and properties that QEMU's `virt` has. */
import { cells64, type FdtNode, flattenTree } from "../../fdt/fdt.js";
import { PLIC_SOURCES } from "../../irq/plic.js";
import { RAM_BASE, TIMEBASE_FREQUENCY, VIRTIO_SLOTS, virtIrq, virtMap } from "./memory-map.js";

/** What varies between machines. */
export interface VirtTreeOptions {
  /** `riscv,isa`: for instance `rv64imafdc_zicsr_zifencei`. */
  readonly isa: string;
  /** Deepest paging scheme. */
  readonly mmu: "sv32" | "sv39" | "sv48" | "sv57" | "none";
  readonly harts: number;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  readonly bootargs?: string;
  /** Guest-physical range of the initial RAM disk. */
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
const reg = (range: { base: number; size: number }): number[] => [...cells64(range.base), ...cells64(range.size)];

/** Splits an ISA string into the base and the list that newer kernels read. */
function extensionsOf(isa: string): { base: string; extensions: string[] } {
  const [first = "", ...rest] = isa.split("_");
  return { base: `${first.slice(0, 4)}i`, extensions: [...first.slice(4), ...rest] };
}

/** Builds the tree. */
export function virtDeviceTree(options: VirtTreeOptions): Uint8Array {
  const { harts, isa, mmu } = options;
  const plicPhandle = 1 + 2 * harts;
  const testPhandle = plicPhandle + 1;
  const { base, extensions } = extensionsOf(isa);
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
            "riscv,isa-base": base,
            "riscv,isa-extensions": extensions,
            "riscv,isa": isa,
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
            children: eachHart.map((hart) => ({ name: `core${hart}`, properties: { cpu: phandleOfHart(hart) } })),
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
        properties: { value: 0x5555, offset: 0, regmap: testPhandle, compatible: "syscon-poweroff" },
      },
      {
        name: "reboot",
        properties: { value: 0x7777, offset: 0, regmap: testPhandle, compatible: "syscon-reboot" },
      },
      soc,
    ],
  });
}
