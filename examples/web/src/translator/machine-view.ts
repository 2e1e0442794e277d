/** The machine's column: what ran where, counts by block, registers. */
import { byId, made, setText } from "./elements.js";
import type { BlockCounts, MachineState, RegisterValue } from "./protocol.js";

/** Most blocks in the table. */
const MOST_BLOCKS = 200;

const number = new Intl.NumberFormat("en");
/** A count as people read it. */
export const countText = (count: number): string => number.format(count);

/** Where a program is, in one line. */
export function statusText({ status, ending, pc, interpreted, translated, unit }: MachineState): string {
  const units = `${countText(interpreted + translated)} ${unit}`;
  switch (status) {
    case "ready":
      return `Ready at ${pc}`;
    case "running":
      return "Running";
    case "paused":
      return `Paused at ${pc}, after ${units}`;
    case "breakpoint":
      return `Breakpoint at ${pc}, after ${units}`;
    case "ended":
      return `Ended: ${ending}, after ${units}`;
  }
}

/** Shows states of the machine. */
export class MachineView {
  private readonly totals = byId("totals");
  private readonly blocks = byId("blocks").querySelector("tbody")!;
  private readonly hint = byId("blocks-hint");
  private readonly registers = byId("registers").querySelector("tbody")!;
  /** Registers before the last command. */
  private before = new Map<string, string>();
  private shown: MachineState | undefined;

  /** @param choose shows the stages of the block at an address */
  constructor(private readonly choose: (address: string) => void) {}

  /** From now on, registers that differ from what is shown now are marked as changed. */
  beginCommand(): void {
    const { pc = "", registers = [] } = this.shown ?? {};
    this.before = new Map([["pc", pc], ...registers.map(({ name, hex }) => [name, hex] as const)]);
  }

  /** What is shown next is a beginning: no register has changed. */
  beginAnew(): void {
    this.before = new Map();
  }

  /**
   * Shows a state.
   * @param labelOf a block's label, if it has one
   * @param chosen address of the block whose stages are shown
   * @param hasBreakpoints whether the engine looks at every instruction
   */
  show(
    state: MachineState,
    labelOf: (address: string) => string | undefined,
    chosen: string | undefined,
    hasBreakpoints: boolean,
  ): void {
    this.shown = state;
    const { unit, threshold, interpreted, translated, regions, regionBytes, samples, mode } = state;
    setText(
      this.totals,
      [
        `Interpreter: ${countText(interpreted)} ${unit}`,
        `WebAssembly: ${countText(translated)} ${unit}`,
        `Regions in place: ${regions}, ${countText(regionBytes)} bytes`,
        ...(hasBreakpoints ? ["While breakpoints are set, all code is interpreted."] : []),
      ].join("\n"),
    );
    setText(
      this.hint,
      mode === "counted" && state.status !== "ready"
        ? "Each instruction that ran one at a time is counted in the disassembly; translations rest"
        : `Arrivals: times that the interpreter came there by a jump; at ${countText(threshold)} a region is made, and it stops counting. Samples: of ${countText(samples)} looks at the program counter`,
    );
    this.showBlocks(state, labelOf, chosen);
    this.showRegisters(state);
  }

  private showBlocks(
    { blocks, samples, mode, executions }: MachineState,
    labelOf: (address: string) => string | undefined,
    chosen: string | undefined,
  ): void {
    const hasRun = new Map(executions);
    const shown = blocks.slice(0, MOST_BLOCKS);
    while (this.blocks.rows.length > shown.length) this.blocks.deleteRow(-1);
    shown.forEach((block, at) => {
      const row = this.blocks.rows[at] ?? this.newBlock();
      const button = row.cells[0]!.firstElementChild as HTMLButtonElement;
      const label = labelOf(block.address);
      setText(button, label === undefined ? block.address : `${block.address} ${label}`);
      button.value = block.address;
      button.setAttribute("aria-pressed", String(block.address === chosen));
      setText(row.cells[1]!, countText(block.arrivals));
      setText(row.cells[2]!, samples === 0 ? "" : `${((100 * block.samples) / samples).toFixed(1)} %`);
      setText(
        row.cells[3]!,
        mode === "counted" ? (hasRun.has(block.address) ? "interpreter" : "") : tierText(block),
      );
    });
  }

  private newBlock(): HTMLTableRowElement {
    const row = this.blocks.insertRow();
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => this.choose(button.value));
    row.insertCell().append(button);
    for (let cell = 1; cell < 4; cell++) row.insertCell();
    return row;
  }

  private showRegisters({ pc, registers }: MachineState): void {
    const hasChanged = ({ name, hex }: RegisterValue) => {
      const before = this.before.get(name);
      return before === undefined ? this.before.size > 0 : before !== hex;
    };
    const shown = registers.filter((register) => BigInt(register.hex) !== 0n || hasChanged(register));
    const all: readonly RegisterValue[] = [{ name: "pc", hex: pc, reading: "" }, ...shown];
    while (this.registers.rows.length > all.length) this.registers.deleteRow(-1);
    all.forEach((register, at) => {
      const { name, hex, reading } = register;
      const row = this.registers.rows[at] ?? this.newRegister();
      row.classList.toggle("changed", hasChanged(register));
      setText(row.cells[0]!, hasChanged(register) ? `${name} *` : name);
      setText(row.cells[1]!, hex);
      setText(row.cells[2]!, reading);
    });
  }

  private newRegister(): HTMLTableRowElement {
    const row = this.registers.insertRow();
    const name = made("th", "");
    name.scope = "row";
    row.append(name);
    row.insertCell();
    row.insertCell();
    return row;
  }
}

function tierText({ region, arrivals, samples }: BlockCounts): string {
  if (region !== undefined) return `WebAssembly, ${countText(region.bytes)} bytes`;
  return arrivals + samples > 0 ? "interpreter" : "";
}
