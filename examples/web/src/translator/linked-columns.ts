/**
 * All columns of a program, and the links between them: a line that is chosen, or under the mouse, has its neighbours
 * highlighted, which are the lines of the same guest instructions.
 */
import { Column } from "./column.js";
import { Editor } from "./editor.js";
import { byId, made, setText } from "./elements.js";
import { countText } from "./machine-view.js";
import type { CodeRow, MachineState, StageLine, Translation } from "./protocol.js";
import { Tabs } from "./tabs.js";

/** What the columns tell their owner. */
export interface ColumnsEvents {
  onEdit(): void;
  /** The block at an address should be explained. */
  onBlock(address: string): void;
  onBreakpoint(address: string): void;
}

const stageNames = ["ir", "optimised", "javascript", "wasm"] as const;
const titles = {
  source: "source",
  disassembly: "disassembly",
  ir: "IR",
  optimised: "optimised IR",
  javascript: "JavaScript",
  wasm: "WebAssembly",
} as const;
const NONE: ReadonlySet<string> = new Set();

/** The columns. */
export class LinkedColumns {
  readonly editor: Editor;
  private readonly disassembly: Column<CodeRow>;
  private readonly stages: Readonly<Record<(typeof stageNames)[number], Column<StageLine>>>;
  private readonly tabs: Tabs;
  private readonly linked = byId("linked");
  private translation: Translation | undefined;
  /** Source of the translation. */
  private source = "";
  private selected: ReadonlySet<string> = NONE;
  private state: MachineState | undefined;
  private executions: ReadonlyMap<string, number> = new Map();
  private arrivals: ReadonlyMap<string, string> = new Map();
  private breakpoints: ReadonlySet<string> = NONE;

  constructor(private readonly events: ColumnsEvents) {
    this.editor = new Editor(byId("source"), byId("layer"), {
      onEdit: () => events.onEdit(),
      onCaret: (line) => this.selectSource(line, true),
      onHover: (line) => this.hover(line === undefined ? undefined : this.addressesOf(line)),
    });
    const column = <Line extends { readonly address?: string }>(
      name: "disassembly" | (typeof stageNames)[number],
      render: (line: Line, element: HTMLElement) => void,
      onSelect: (line: Line) => void,
      onActivate?: (line: Line) => void,
    ) =>
      new Column<Line>(byId(name), render, {
        onHover: (line) => this.hover(line?.address === undefined ? undefined : new Set([line.address])),
        onSelect,
        onLeave: (direction) => this.leave(name, direction),
        ...(onActivate === undefined ? {} : { onActivate }),
      });
    this.disassembly = column<CodeRow>(
      "disassembly",
      (row, element) => this.renderRow(row, element),
      ({ address }) => this.select(new Set([address]), true),
      (row) => {
        if (!row.isData) events.onBreakpoint(row.address);
      },
    );
    const stage = (name: (typeof stageNames)[number]) =>
      column<StageLine>(
        name,
        ({ text }, element) => setText(element, text),
        ({ address }) => this.select(address === undefined ? NONE : new Set([address]), false),
      );
    this.stages = {
      ir: stage("ir"),
      optimised: stage("optimised"),
      javascript: stage("javascript"),
      wasm: stage("wasm"),
    };
    this.tabs = new Tabs([...document.querySelectorAll<HTMLElement>("main > section")]);
  }

  /** Shows a translation of `source`. */
  show(translation: Translation, source: string): void {
    const isSameProgram = this.source === source && this.translation !== undefined;
    this.translation = translation;
    this.source = source;
    if (!isSameProgram) {
      const { rows, hiddenRows } = translation;
      this.disassembly.show(rows);
      if (hiddenRows > 0)
        byId("disassembly").append(made("div", `… ${countText(hiddenRows)} more rows are not shown`, "line"));
    }
    for (const name of stageNames) this.stages[name].show(translation.stages[name]);
    this.setMistake(undefined, undefined);
    const line = this.editor.caret;
    if (!isSameProgram && line !== undefined) this.selectSource(line, false);
    else this.highlight(this.selected, false);
  }

  /** Shows a mistake of the source: the columns are old until there is none. */
  setMistake(line: number | undefined, problem: string | undefined): void {
    this.editor.setMistake(line, problem !== undefined);
    setText(
      byId("mistake"),
      problem === undefined ? "" : line === undefined ? problem : `line ${line}: ${problem}`,
    );
    const isOld = problem !== undefined;
    document.querySelector("main")!.classList.toggle("old", isOld);
    for (const name of ["disassembly", "machine", ...stageNames]) {
      const title = byId(`title-${name}`);
      title.querySelector(".old-mark")?.remove();
      if (isOld) title.append(made("span", " (old)", "old-mark"));
    }
  }

  /** Shows where the machine is, and what it has counted. */
  showMachine(state: MachineState, breakpoints: ReadonlySet<string>): void {
    const hasMoved = state.status !== "running" && state.pc !== this.state?.pc;
    this.state = state;
    this.breakpoints = breakpoints;
    this.executions = new Map(state.executions);
    this.arrivals = new Map(
      state.mode === "counted"
        ? []
        : state.blocks
            .filter(({ arrivals }) => arrivals > 0)
            .map(({ address, arrivals, region }) => [
              address,
              `${countText(arrivals)} ${arrivals === 1 ? "arrival" : "arrivals"}${region === undefined ? "" : " → WebAssembly"}`,
            ]),
    );
    this.disassembly.refresh();
    if (hasMoved) this.disassembly.revealAddress(state.pc);
  }

  /** Chooses instructions, and the block that they are in if `mayPick` is set. */
  select(addresses: ReadonlySet<string>, mayPick: boolean): void {
    this.selected = addresses;
    this.highlight(addresses, true);
    const [first] = addresses;
    if (!mayPick || first === undefined || this.translation === undefined) return;
    const { image, stages } = this.translation;
    const block = image.blocks.findLast((address) => Number(address) <= Number(first));
    if (block !== undefined && block !== stages.block) this.events.onBlock(block);
  }

  /** Brings a column into view where only one is shown. */
  showPanel(name: string): void {
    this.tabs.show(byId(`panel-${name}`));
  }

  private addressesOf(line: number): ReadonlySet<string> {
    return this.editor.text === this.source ? new Set(this.translation?.lines[line]) : NONE;
  }

  private selectSource(line: number, mayPick: boolean): void {
    const addresses = this.addressesOf(line);
    if (addresses.size > 0) this.select(addresses, mayPick);
    else this.highlight(this.selected, false);
  }

  private hover(addresses: ReadonlySet<string> | undefined): void {
    this.mark(addresses ?? this.selected, false);
  }

  private highlight(addresses: ReadonlySet<string>, mayScroll: boolean): void {
    const counts = this.mark(addresses, mayScroll);
    const found = counts.map(([name, count]) => `${titles[name]} ${count}`);
    setText(
      this.linked,
      addresses.size === 0 ? "" : `${[...addresses].join(", ")} in lines of each column: ${found.join(", ")}`,
    );
  }

  private mark(addresses: ReadonlySet<string>, mayScroll: boolean): [keyof typeof titles, number][] {
    const lines = new Set<number>();
    if (this.editor.text === this.source)
      this.translation?.lines.forEach((made, line) => {
        if (made.some((address) => addresses.has(address))) lines.add(line);
      });
    return [
      ["source", this.editor.highlight(lines, mayScroll)],
      ["disassembly", this.disassembly.highlight(addresses, mayScroll)],
      ...stageNames.map((name): [keyof typeof titles, number] => [
        name,
        this.stages[name].highlight(addresses, mayScroll),
      ]),
    ];
  }

  private leave(from: "disassembly" | (typeof stageNames)[number], direction: -1 | 1): void {
    const order = ["source", "disassembly", ...stageNames] as const;
    const to = order[order.indexOf(from) + direction];
    if (to === undefined) return;
    this.showPanel(to);
    if (to === "source") this.editor.focus();
    else (to === "disassembly" ? this.disassembly : this.stages[to]).focus(this.selected);
  }

  private renderRow(row: CodeRow, element: HTMLElement): void {
    if (element.childElementCount === 0) {
      if (row.startsBlock || row.labels.length > 0) {
        const head = made("div", "", "head");
        const names = row.labels.map((label) => `${label}:`).join(" ");
        head.append(made("span", names === "" ? "block" : names), made("span", "", "arrivals"));
        element.append(head);
      }
      const line = made("div", "", "row");
      line.append(
        made("span", "", "gutter"),
        made("span", row.address),
        made("span", row.bytes, "bytes"),
        made("span", row.text, "text"),
        made("span", "", "count"),
        made("span", "", "unseen"),
      );
      element.append(line);
      element.classList.toggle("begins", row.startsBlock);
    }
    const isCurrent = this.state?.pc === row.address;
    const isStop = this.breakpoints.has(row.address);
    const executions = this.executions.get(row.address);
    const count = executions === undefined ? "" : `× ${countText(executions)}`;
    const arrivals = this.arrivals.get(row.address) ?? "";
    // Most rows look as before: a running machine tells of itself often.
    const looks = `${isCurrent} ${isStop} ${count} ${arrivals}`;
    if (element.dataset.looks === looks) return;
    element.dataset.looks = looks;
    element.classList.toggle("current", isCurrent);
    setText(element.querySelector(".gutter")!, `${isStop ? "●" : " "}${isCurrent ? "▶" : ""}`);
    setText(
      element.querySelector(".unseen")!,
      `${isStop ? ", breakpoint" : ""}${isCurrent ? ", program counter" : ""}`,
    );
    setText(element.querySelector(".count")!, count);
    const head = element.querySelector(".arrivals");
    if (head !== null) setText(head, arrivals);
  }
}
