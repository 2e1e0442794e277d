/** The nodes of a board's parts, put together for its device tree. */
import { BoardError } from "../errors.js";
import { cells64, type FdtNode } from "../fdt/fdt.js";
import type { AddressRange, BoardPart, PartNodes, TreeScope } from "./part.js";

/** What parts can refer to beside each other. */
export interface TreeSurroundings extends Pick<TreeScope, "harts" | "hart"> {
  /** The part that is the interrupt controller. */
  readonly controller: string;
  /** First phandle that is free for parts. The controller gets it; the others follow as they are asked for. */
  readonly firstPhandle: number;
}

/** A range as a `reg` property has it, in cells of 64 bits. */
export const regCells = ({ base, size }: AddressRange): number[] => [...cells64(base), ...cells64(size)];

/**
 * The nodes of all parts. Those under `/soc` are in the order of their unit addresses, whatever the order of the parts.
 * @throws BoardError (`E_PART_NAME`) where a part refers to one that is not there
 */
export function partNodes(parts: readonly BoardPart[], surroundings: TreeSurroundings): Required<PartNodes> {
  const { harts, hart, controller, firstPhandle } = surroundings;
  const names = new Set(parts.map(({ name }) => name));
  const phandles = new Map([[controller, firstPhandle]]);
  const phandle = (name: string): number => {
    if (!names.has(name))
      throw new BoardError("E_PART_NAME", `no part is called ${name}: nodes can't refer to it`);
    const known = phandles.get(name) ?? firstPhandle + phandles.size;
    phandles.set(name, known);
    return known;
  };
  const nodes = parts.flatMap((part) => {
    const { ranges = [], interrupts = [] } = part;
    const properties: FdtNode["properties"] = {
      ...(interrupts.length === 0 ? {} : { interrupts, "interrupt-parent": phandle(controller) }),
      ...(ranges.length === 0 ? {} : { reg: ranges.flatMap(regCells) }),
    };
    return part.nodes?.({ properties, harts, hart, phandle }) ?? [];
  });
  return {
    soc: nodes.flatMap(({ soc = [] }) => soc).sort((a, b) => unitAddress(a) - unitAddress(b)),
    root: nodes.flatMap(({ root = [] }) => root),
    chosen: Object.assign({}, ...nodes.map(({ chosen }) => chosen)),
  };
}

/** The number after the `@`; nodes without one come last. */
function unitAddress({ name }: FdtNode): number {
  const [, digits] = /@([0-9a-f]+)/.exec(name) ?? [];
  return digits === undefined ? Number.MAX_VALUE : Number.parseInt(digits, 16);
}
