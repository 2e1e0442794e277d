/**
 * The board's device tree: what QEMU's `virt` has for the harts and memory, the ISA in both forms, `riscv,isa` and the
 * lists that newer kernels prefer, and the nodes of the parts.
 *
 * Phandles count up from 1: each hart and its interrupt controller, the PLIC, then parts as they are referred to.
 */
import { BoardError } from "../../errors.js";
import { cells64, type FdtNode, flattenTree } from "../../fdt/fdt.js";
import { type BoardPart, nodeName } from "../part.js";
import { partNodes, regCells } from "../tree.js";
import { RAM_BASE, TIMEBASE_FREQUENCY, type VirtMemory } from "./memory-map.js";
import { CONTROLLER } from "./parts.js";

/** What varies between machines. */
export interface VirtTreeOptions {
  /** For instance `rv64imafdc_zicsr_zifencei`; `g` is spelt out in the tree. */
  readonly isa: string;
  /** What is to be said of each hart beside that: block sizes of extensions, for instance. */
  readonly hartProperties?: Readonly<Record<string, number | string>>;
  /** Deepest paging scheme. */
  readonly mmu: "sv32" | "sv39" | "sv48" | "sv57" | "none";
  /** Number of harts; their ids count from 0. */
  readonly harts: number;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  /** Memory at other places. */
  readonly memories?: readonly VirtMemory[];
  /** The kernel's command line. */
  readonly bootargs?: string;
  /** Guest-physical range of the initial RAM disk; `end` is past its last byte. */
  readonly initrd?: { readonly start: number; readonly end: number };
  /** Entropy for the kernel's generator. */
  readonly rngSeed?: Uint8Array;
}

/** Memory for programs, or what a kernel may read as a file. */
const memoryNode = ({ kind, base, size }: VirtMemory): FdtNode =>
  kind === "ram"
    ? { name: nodeName("memory", base), properties: { device_type: "memory", reg: regCells({ base, size }) } }
    : {
        name: nodeName(kind, base),
        properties: { compatible: "mtd-rom", reg: regCells({ base, size }), "bank-width": 4 },
      };

const phandleOfHart = (hart: number): number => 1 + 2 * hart;
const phandleOfIntc = (hart: number): number => 2 + 2 * hart;

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
 * @throws BoardError on a malformed ISA string (`E_ISA`), or a node that refers to a part that is not there
 *   (`E_PART_NAME`); FdtError on nodes that no tree can hold
 */
export function virtDeviceTree(options: VirtTreeOptions, parts: readonly BoardPart[]): Uint8Array {
  const { harts, mmu, memories = [] } = options;
  const isa = describeIsa(options.isa);
  const eachHart = Array.from({ length: harts }, (_, hart) => hart);

  const cpus: FdtNode = {
    name: "cpus",
    properties: { "#address-cells": 1, "#size-cells": 0, "timebase-frequency": TIMEBASE_FREQUENCY },
    children: [
      ...eachHart.map(
        (hart): FdtNode => ({
          name: nodeName("cpu", hart),
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
            ...options.hartProperties,
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

  const { soc, root, chosen } = partNodes(parts, {
    harts,
    hart: phandleOfIntc,
    controller: CONTROLLER,
    firstPhandle: 1 + 2 * harts,
  });

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
          ...chosen,
        },
      },
      {
        name: nodeName("memory", RAM_BASE),
        properties: { device_type: "memory", reg: regCells({ base: RAM_BASE, size: options.ramBytes }) },
      },
      ...memories.map(memoryNode),
      cpus,
      ...root,
      {
        name: "soc",
        properties: { "#address-cells": 2, "#size-cells": 2, compatible: "simple-bus", ranges: true },
        children: soc,
      },
    ],
  });
}
