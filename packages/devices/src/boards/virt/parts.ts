/**
 * The parts of QEMU's `virt` that are here, each with its nodes in the device tree as QEMU writes them, and the
 * generation device, which QEMU has on other machines.
 */
import type { Clint } from "../../clint/clint.js";
import type { ConsoleInput } from "../../console/console-input.js";
import { GENERATION_BYTES, VmGeneration } from "../../generation/vm-generation.js";
import { PLIC_SOURCES, type Plic } from "../../irq/plic.js";
import type { ConsoleBackend } from "../../ports.js";
import { FINISHER_PASS, FINISHER_RESET, type PowerEvent, TestFinisher } from "../../power/test-finisher.js";
import { GoldfishRtc } from "../../rtc/goldfish-rtc.js";
import { Ns16550 } from "../../uart/ns16550.js";
import type { VirtioDevice } from "../../virtio/device.js";
import { EmptySlot } from "../../virtio/empty-slot.js";
import { MmioTransport } from "../../virtio/mmio-transport.js";
import { type BoardPart, nodeName, type PartDevice, type TreeScope } from "../part.js";
import { regCells } from "../tree.js";
import { type VirtMemory, virtIrq, virtMap } from "./memory-map.js";

/** Name of the interrupt controller among the parts. */
export const CONTROLLER = "plic";

const MACHINE_SOFTWARE = 3;
const MACHINE_TIMER = 7;
const SUPERVISOR_EXTERNAL = 9;
const MACHINE_EXTERNAL = 11;
const UART_CLOCK = 3_686_400;

/** `interrupts-extended` of a device that interrupts all harts, by these causes. */
const toHarts = ({ harts, hart }: TreeScope, causes: readonly number[]): number[] =>
  Array.from({ length: harts }, (_, id) => causes.flatMap((cause) => [hart(id), cause])).flat();

/** A part that is only a state. */
export const statePart = (name: string, device: PartDevice): BoardPart => ({ name, make: () => device });

/** What takes the stores to memory that can't be written, and does nothing with them. */
export const sinkPart = ({ name, base, size }: VirtMemory): BoardPart => ({
  name,
  ranges: [{ base, size }],
  isVacant: true,
  make: () => ({
    registers: [{ read: () => 0, write: () => {} }],
    reset: () => {},
    save: () => ({}),
    restore: () => {},
    counters: {},
  }),
});

/** Power, as SiFive's test finisher and as the `syscon` that it is, too. */
export const powerPart = (onPower: (event: PowerEvent) => void): BoardPart => ({
  name: "test",
  ranges: [virtMap.test],
  nodes: ({ properties, phandle }) => {
    const regmap = phandle("test");
    return {
      soc: [
        {
          name: nodeName("test", virtMap.test.base),
          properties: {
            phandle: regmap,
            ...properties,
            compatible: ["sifive,test1", "sifive,test0", "syscon"],
          },
        },
      ],
      root: [
        {
          name: "poweroff",
          properties: { value: FINISHER_PASS, offset: 0, regmap, compatible: "syscon-poweroff" },
        },
        {
          name: "reboot",
          properties: { value: FINISHER_RESET, offset: 0, regmap, compatible: "syscon-reboot" },
        },
      ],
    };
  },
  make: () => new TestFinisher(onPower),
});

/** The clock of the day. */
export const rtcPart = (wallClock: () => number): BoardPart => ({
  name: "rtc",
  ranges: [virtMap.rtc],
  interrupts: [virtIrq.rtc],
  nodes: ({ properties }) => ({
    soc: [
      {
        name: nodeName("rtc", virtMap.rtc.base),
        properties: { ...properties, compatible: "google,goldfish-rtc" },
      },
    ],
  }),
  make: ({ interrupts, clock }) => new GoldfishRtc(interrupts[0]!, wallClock, clock),
});

/** Which machine this is. @param made is given the device */
export const generationPart = (made: (generation: VmGeneration) => void): BoardPart => ({
  name: "generation",
  ranges: [virtMap.generation],
  interrupts: [virtIrq.generation],
  nodes: ({ properties }) => ({
    soc: [
      {
        name: nodeName("vmgenid", virtMap.generation.base),
        properties: {
          ...properties,
          reg: regCells({ base: virtMap.generation.base, size: GENERATION_BYTES }),
          compatible: "microsoft,vmgenid",
        },
      },
    ],
  }),
  make: ({ interrupts }) => {
    const generation = new VmGeneration(interrupts[0]!);
    made(generation);
    return generation;
  },
});

/** Timers and software interrupts of the harts. */
export const clintPart = (clint: Clint): BoardPart => ({
  name: clint.name,
  ranges: [virtMap.clint],
  nodes: (scope) => ({
    soc: [
      {
        name: nodeName("clint", virtMap.clint.base),
        properties: {
          "interrupts-extended": toHarts(scope, [MACHINE_SOFTWARE, MACHINE_TIMER]),
          ...scope.properties,
          compatible: ["sifive,clint0", "riscv,clint0"],
        },
      },
    ],
  }),
  make: () => clint,
});

/** The interrupt controller. */
export const plicPart = (plic: Plic): BoardPart => ({
  name: CONTROLLER,
  ranges: [virtMap.plic],
  nodes: (scope) => ({
    soc: [
      {
        name: nodeName("plic", virtMap.plic.base),
        properties: {
          phandle: scope.phandle(CONTROLLER),
          "riscv,ndev": PLIC_SOURCES,
          ...scope.properties,
          "interrupts-extended": toHarts(scope, [MACHINE_EXTERNAL, SUPERVISOR_EXTERNAL]),
          "interrupt-controller": true,
          compatible: ["sifive,plic-1.0.0", "riscv,plic0"],
          "#address-cells": 0,
          "#interrupt-cells": 1,
        },
      },
    ],
  }),
  make: () => plic,
});

/** The serial console. @param made is given the device */
export const uartPart = (
  console: ConsoleBackend,
  input: ConsoleInput,
  made: (uart: Ns16550) => void,
): BoardPart => {
  const node = nodeName("serial", virtMap.uart.base);
  return {
    name: "uart0",
    ranges: [virtMap.uart],
    interrupts: [virtIrq.uart],
    nodes: ({ properties }) => ({
      soc: [
        { name: node, properties: { "clock-frequency": UART_CLOCK, ...properties, compatible: "ns16550a" } },
      ],
      chosen: { "stdout-path": `/soc/${node}` },
    }),
    make: ({ interrupts }) => {
      const uart = new Ns16550("uart0", interrupts[0]!, console, input);
      made(uart);
      return uart;
    },
  };
};

/** A virtio slot with its device, or empty. */
export const virtioPart = (
  slot: number,
  device: VirtioDevice | undefined,
  drainMs: number | undefined,
): BoardPart => {
  const { base, size } = { ...virtMap.virtio, base: virtMap.virtio.base + slot * virtMap.virtio.size };
  return {
    name: device === undefined ? `virtio${slot}` : `virtio${slot}:${device.name}`,
    ranges: [{ base, size }],
    interrupts: [virtIrq.firstVirtio + slot],
    nodes: ({ properties }) => ({
      soc: [
        { name: nodeName("virtio_mmio", base), properties: { ...properties, compatible: "virtio,mmio" } },
      ],
    }),
    isVacant: device === undefined,
    make: ({ interrupts, memory, wake }) =>
      device === undefined
        ? new EmptySlot(`virtio${slot}`)
        : new MmioTransport(device, interrupts[0]!, memory, wake, drainMs),
  };
};
