/** The broker's table: what each machine gets, and sliders for what it and the pools may have. */
import type { Allotment } from "@hyperfile/broker/cpu";
import type { InlineVmFigures, NetAllotment, NetChange } from "@hyperfile/broker/inline";
import type { HostFigures } from "../host/protocol.js";
import { netSums } from "./net-sums.js";

/** What a slider has set. */
export interface AllotmentChange {
  readonly cpu?: Partial<Allotment>;
  readonly net?: NetChange;
}

/** What a machine or a pool may have. */
interface Allotments {
  readonly cpu: Allotment;
  readonly net: NetAllotment;
}

interface Slider {
  readonly title: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  /** Whether it is of network cards. */
  readonly isOfNetwork?: boolean;
  /** The slider's value. */
  read(allotments: Allotments): number;
  write(value: number): AllotmentChange;
  /** The value in words. */
  text(value: number): string;
}

/** KiB a second that a slider can limit machines to; its last place is no limit. */
const rates = [16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];
const KIB = 1024;

const percent = (value: number): string => `${Math.round(value)} %`;
const limitOf = (place: number): number => (rates[place] === undefined ? Infinity : rates[place] * KIB);
/** The place of a limit, or the first one above it. */
const placeOf = (limit: number): number => {
  const place = rates.findIndex((rate) => rate * KIB >= limit);
  return place < 0 ? rates.length : place;
};
const rateText = (place: number): string => {
  const rate = rates[place];
  if (rate === undefined) return "none";
  return rate < KIB ? `${rate} KiB/s` : `${rate / KIB} MiB/s`;
};
const ofNetwork = { min: 0, max: rates.length, step: 1, isOfNetwork: true, text: rateText };

/** The sliders, in the order of their columns. */
const sliders: Readonly<Record<Key, Slider>> = {
  shares: {
    ...{ title: "Shares", min: 100, max: 8000, step: 100 },
    read: ({ cpu }) => cpu.shares,
    write: (shares) => ({ cpu: { shares } }),
    text: String,
  },
  reservation: {
    ...{ title: "Reservation", min: 0, max: 100, step: 5 },
    read: ({ cpu }) => 100 * cpu.reservation,
    write: (value) => ({ cpu: { reservation: value / 100 } }),
    text: percent,
  },
  limit: {
    ...{ title: "Limit", min: 5, max: 100, step: 5 },
    read: ({ cpu }) => (cpu.limit === Infinity ? 100 : 100 * cpu.limit),
    write: (value) => ({ cpu: { limit: value === 100 ? Infinity : value / 100 } }),
    text: (value) => (value >= 100 ? "none" : percent(value)),
  },
  send: {
    ...ofNetwork,
    title: "Send limit",
    read: ({ net }) => placeOf(net.send.limit),
    write: (place) => ({ net: { send: { limit: limitOf(place) } } }),
  },
  receive: {
    ...ofNetwork,
    title: "Receive limit",
    read: ({ net }) => placeOf(net.receive.limit),
    write: (place) => ({ net: { receive: { limit: limitOf(place) } } }),
  },
};
type Key = "shares" | "reservation" | "limit" | "send" | "receive";
const keys = Object.keys(sliders) as Key[];

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
const memoryNames = ["memory", "shared", "ballooned", "disk", "network"] as const;

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
    for (const { name, parent, cpu, net } of pools) {
      if (parent === undefined) continue;
      const { cells, inputs, outputs } = row({ kind: "pool", name });
      const count = vms.filter(({ pool }) => pool === name).length;
      put(cells.state!, count === 0 ? "empty" : `${count} machine${count === 1 ? "" : "s"}`);
      setSliders(inputs, outputs, { cpu, net });
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
    const add = (key: Key): void => {
      const { title, min, max, step, write, text } = sliders[key];
      const input = document.createElement("input");
      Object.assign(input, { type: "range", min, max, step });
      input.ariaLabel = `${title} of ${kind === "pool" ? "pool " : ""}${name}`;
      const output = document.createElement("output");
      input.addEventListener("input", () => {
        output.textContent = text(Number(input.value));
      });
      input.addEventListener("change", () => this.listener.change(subject, write(Number(input.value))));
      element.insertCell().append(input, output);
      inputs[key] = input;
      outputs[key] = output;
    };
    for (const key of keys) if (sliders[key].isOfNetwork !== true) add(key);
    for (const each of memoryNames) cells[each] = element.insertCell();
    for (const key of keys) if (sliders[key].isOfNetwork === true) add(key);
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
    setSliders(inputs, outputs, figures);
    for (const key of keys)
      if (sliders[key].isOfNetwork === true) inputs[key].disabled = figures.nics.length === 0;
    const { memory, counters } = figures;
    put(cells.memory!, mebibytes(memory?.touched));
    put(cells.shared!, mebibytes(memory?.shared));
    put(cells.ballooned!, mebibytes(memory?.ballooned));
    const moved = Object.entries(counters)
      .filter(([name]) => /block\.\w*bytes/i.test(name))
      .reduce((sum, [, value]) => sum + value, 0);
    put(cells.disk!, mebibytes(moved));
    const net = netSums(figures);
    put(cells.network!, net === undefined ? "" : `${mebibytes(net.sent)} / ${mebibytes(net.received)}`);
    if (net === undefined) return;
    const wait = net.framesReceived === 0 ? 0 : net.waited / net.framesReceived;
    cells.network!.title =
      `sent ${net.sent} bytes in ${net.framesSent} frames, received ${net.received} in ${net.framesReceived}; ` +
      `${net.dropped} dropped; a frame waited ${wait.toFixed(2)} ms`;
  }
}

/** Has sliders show what is allotted, but for one that a user holds. */
function setSliders(inputs: Row["inputs"], outputs: Row["outputs"], allotments: Allotments): void {
  for (const key of keys) {
    if (document.activeElement === inputs[key] && inputs[key].matches(":active")) continue;
    const { read, text } = sliders[key];
    const value = read(allotments);
    inputs[key].value = String(value);
    outputs[key].textContent = text(value);
    if (sliders[key].isOfNetwork === true) inputs[key].setAttribute("aria-valuetext", text(value));
  }
}

function put(cell: HTMLTableCellElement, text: string): void {
  if (cell.textContent !== text) cell.textContent = text;
}

const mebibytes = (bytes: number | undefined): string =>
  bytes === undefined ? "" : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
