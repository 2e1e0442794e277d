/** The broker's table: what each machine gets, and sliders for what it and the pools may have. */
import type { Allotment } from "@hyperfile/broker/cpu";
import type { InlineVmFigures } from "@hyperfile/broker/inline";
import type { HostFigures } from "../host/protocol.js";

/** What a slider has set. */
export interface AllotmentChange {
  readonly shares?: number;
  readonly reservation?: number;
  readonly limit?: number;
}

const sliders = [
  { key: "shares", title: "Shares", min: 100, max: 8000, step: 100 },
  { key: "reservation", title: "Reservation", min: 0, max: 100, step: 5 },
  { key: "limit", title: "Limit", min: 5, max: 100, step: 5 },
] as const;
type Key = (typeof sliders)[number]["key"];

/** What a row is of. */
export interface RowSubject {
  readonly kind: "machine" | "pool";
  readonly name: string;
}

interface Row {
  readonly element: HTMLTableRowElement;
  readonly cells: Readonly<Record<string, HTMLTableCellElement>>;
  readonly inputs: Readonly<Record<Key, HTMLInputElement>>;
  readonly outputs: Readonly<Record<Key, HTMLOutputElement>>;
  before: { readonly at: number; readonly figures: InlineVmFigures } | undefined;
}

/** What a user asks of the table. */
export interface TableListener {
  /** A slider was moved; who sets it tells by himself what is refused. */
  change(subject: RowSubject, change: AllotmentChange): void;
  /** The button with the subject's name. */
  press(subject: RowSubject): void;
}

const figureNames = ["state", "cpu", "ready", "mips"] as const;
const memoryNames = ["memory", "shared", "ballooned", "disk"] as const;

/** The table. */
export class FleetTable {
  private readonly rows = new Map<string, Row>();

  constructor(
    private readonly body: HTMLTableSectionElement,
    private readonly listener: TableListener,
  ) {}

  show({ vms, pools, at }: HostFigures): void {
    const gone = new Set(this.rows.keys());
    const row = (subject: RowSubject): Row => {
      const key = `${subject.kind} ${subject.name}`;
      gone.delete(key);
      const known = this.rows.get(key) ?? this.add(subject);
      this.rows.set(key, known);
      return known;
    };
    for (const { name, parent, cpu } of pools) {
      if (parent === undefined) continue;
      const { cells, inputs, outputs } = row({ kind: "pool", name });
      const count = vms.filter(({ pool }) => pool === name).length;
      put(cells.state!, count === 0 ? "empty" : `${count} machine${count === 1 ? "" : "s"}`);
      setSliders(inputs, outputs, cpu);
    }
    for (const figures of vms) this.fill(row({ kind: "machine", name: figures.name }), figures, at);
    for (const key of gone) {
      this.rows.get(key)!.element.remove();
      this.rows.delete(key);
    }
  }

  private add(subject: RowSubject): Row {
    const { kind, name } = subject;
    const element = this.body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = kind === "pool" ? `Remove pool ${name}` : name;
    button.addEventListener("click", () => this.listener.press(subject));
    head.append(button);
    element.append(head);
    const cells: Record<string, HTMLTableCellElement> = {};
    const inputs = {} as Record<Key, HTMLInputElement>;
    const outputs = {} as Record<Key, HTMLOutputElement>;
    for (const each of figureNames) cells[each] = element.insertCell();
    for (const { key, title, min, max, step } of sliders) {
      const input = document.createElement("input");
      Object.assign(input, { type: "range", min, max, step });
      input.ariaLabel = `${title} of ${kind === "pool" ? "pool " : ""}${name}`;
      const output = document.createElement("output");
      input.addEventListener("input", () => {
        output.textContent = shown(key, Number(input.value));
      });
      input.addEventListener("change", () => {
        const value = Number(input.value);
        const wish = key === "shares" ? value : key === "limit" && value === 100 ? Infinity : value / 100;
        this.listener.change(subject, { [key]: wish });
      });
      element.insertCell().append(input, output);
      inputs[key] = input;
      outputs[key] = output;
    }
    for (const each of memoryNames) cells[each] = element.insertCell();
    return { element, cells, inputs, outputs, before: undefined };
  }

  private fill(row: Row, figures: InlineVmFigures, at: number): void {
    const { cells, inputs, outputs, before } = row;
    put(cells.state!, figures.state);
    cells.cpu!.title = `${(figures.accounts.used / 1000).toFixed(3)} s of CPU time`;
    const span = before === undefined ? 0 : at - before.at;
    if (before !== undefined && span > 0) {
      const earlier = before.figures;
      const waited = ({ accounts }: InlineVmFigures) => accounts.ready + accounts.limited;
      put(cells.cpu!, `${Math.round((100 * (figures.accounts.used - earlier.accounts.used)) / span)} %`);
      put(cells.ready!, `${Math.round((100 * (waited(figures) - waited(earlier))) / span)} %`);
      const retired = Math.max(0, figures.retired - earlier.retired);
      put(cells.mips!, String(Math.round(retired / span / 1000)));
    }
    row.before = { at, figures };
    setSliders(inputs, outputs, figures.cpu);
    const { memory, counters } = figures;
    put(cells.memory!, mebibytes(memory?.touched));
    put(cells.shared!, mebibytes(memory?.shared));
    put(cells.ballooned!, mebibytes(memory?.ballooned));
    const moved = Object.entries(counters)
      .filter(([name]) => /block\.\w*bytes/i.test(name))
      .reduce((sum, [, value]) => sum + value, 0);
    put(cells.disk!, mebibytes(moved));
  }
}

/** Has sliders show what is allotted, but for one that a user holds. */
function setSliders(
  inputs: Row["inputs"],
  outputs: Row["outputs"],
  { shares, reservation, limit }: Allotment,
): void {
  const values: Record<Key, number> = {
    shares,
    reservation: 100 * reservation,
    limit: limit === Infinity ? 100 : 100 * limit,
  };
  for (const { key } of sliders) {
    if (document.activeElement === inputs[key] && inputs[key].matches(":active")) continue;
    inputs[key].value = String(values[key]);
    outputs[key].textContent = shown(key, values[key]);
  }
}

function put(cell: HTMLTableCellElement, text: string): void {
  if (cell.textContent !== text) cell.textContent = text;
}

const shown = (key: Key, value: number): string =>
  key === "shares" ? String(value) : key === "limit" && value >= 100 ? "none" : `${Math.round(value)} %`;

const mebibytes = (bytes: number | undefined): string =>
  bytes === undefined ? "" : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
