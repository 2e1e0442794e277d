/** Plots of what the broker divides: CPU and the time that machines stood ready, memory and network; the last minute, live. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { HostFigures } from "../host/protocol.js";
import { netSums } from "./net-sums.js";

/** Milliseconds that are shown. */
const SPAN = 60_000;
/** Colours of machines in turn, for light and for dark: told apart in grey, too, by their dashes. */
const colours = ["#0b6e5c", "#b4530a", "#3a5bbf", "#8c3a8c", "#7a6a00", "#b3263e"];
const darkColours = ["#7fd1b9", "#f0a868", "#9db4ff", "#e0a0e0", "#d6c94e", "#ff9aa8"];
const dashes: readonly (readonly number[])[] = [[], [6, 3], [2, 2], [10, 3, 2, 3], [4, 4], [1, 3]];
/** Machines that are drawn: more lines tell nobody anything. */
const MOST_LINES = 6;
const scheme = matchMedia("(prefers-color-scheme: dark)");

interface Sample {
  readonly at: number;
  readonly cpu: ReadonlyMap<string, number>;
  readonly ready: ReadonlyMap<string, number>;
  readonly memory: ReadonlyMap<string, number>;
  readonly network: ReadonlyMap<string, number>;
}

const kinds = [
  { key: "cpu", title: "CPU, % of the core", most: 100 },
  { key: "ready", title: "Ready, % of the time", most: 100 },
  { key: "memory", title: "Memory, MiB", most: undefined },
  { key: "network", title: "Network, KiB/s", most: undefined },
] as const;

/** The plots. */
export class Plots {
  private samples: Sample[] = [];
  private names: readonly string[] = [];
  private plots: uPlot[] = [];
  private last: HostFigures | undefined;
  private isDue = false;

  constructor(private readonly place: HTMLElement) {
    new ResizeObserver(() => this.resize()).observe(place);
    scheme.addEventListener("change", () => this.build());
  }

  /** Takes figures; draws with the next picture of the page. */
  add(figures: HostFigures): void {
    const { last } = this;
    this.last = figures;
    if (last === undefined || figures.at <= last.at) return;
    const before = new Map(last.vms.map((vm) => [vm.name, vm]));
    const span = figures.at - last.at;
    const [cpu, ready, memory, network] = Array.from(kinds, () => new Map<string, number>()) as [
      Map<string, number>,
      Map<string, number>,
      Map<string, number>,
      Map<string, number>,
    ];
    for (const vm of figures.vms) {
      const earlier = before.get(vm.name);
      if (earlier === undefined) continue;
      cpu.set(vm.name, (100 * (vm.accounts.used - earlier.accounts.used)) / span);
      const waited = ({ accounts }: typeof vm) => accounts.ready + accounts.limited;
      ready.set(vm.name, (100 * (waited(vm) - waited(earlier))) / span);
      memory.set(vm.name, (vm.memory?.touched ?? 0) / 2 ** 20);
      const [now, then] = [netSums(vm), netSums(earlier)];
      // Cards count from zero when a machine is powered on again.
      if (now !== undefined && then !== undefined)
        network.set(vm.name, Math.max(0, now.sent + now.received - then.sent - then.received) / 1.024 / span);
    }
    this.samples.push({ at: figures.at, cpu, ready, memory, network });
    this.samples = this.samples.filter(({ at }) => at > figures.at - SPAN);
    const names = figures.vms.map(({ name }) => name).slice(0, MOST_LINES);
    if (names.join() !== this.names.join()) {
      this.names = names;
      this.build();
    }
    this.place.ariaLabel = `CPU of the last moment: ${
      names.map((name) => `${name} ${Math.round(cpu.get(name) ?? 0)} %`).join(", ") || "no machines"
    }`;
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  private build(): void {
    for (const plot of this.plots) plot.destroy();
    const ink = scheme.matches ? "#aab4c0" : "#4a5560";
    const grid = { stroke: scheme.matches ? "#2a323c" : "#e3e3dc", width: 1 };
    const axis = { stroke: ink, grid, ticks: grid, font: "12px system-ui" };
    this.plots = kinds.map(({ title, most }) => {
      const plot = new uPlot(
        {
          title,
          width: this.width(),
          height: 150,
          cursor: { show: false },
          legend: { show: true, live: false },
          scales: {
            x: { time: false, range: [-SPAN / 1000, 0] },
            y: { range: (_, __, highest) => [0, most ?? Math.max(16, highest * 1.1)] },
          },
          axes: [
            { ...axis, values: (_, ticks) => ticks.map((tick) => `${tick} s`) },
            { ...axis, size: 44 },
          ],
          series: [
            {},
            ...this.names.map((name, at) => ({
              label: name,
              stroke: (scheme.matches ? darkColours : colours)[at]!,
              dash: [...dashes[at]!],
              width: 2,
              points: { show: false },
            })),
          ],
        },
        [[], ...this.names.map(() => [])],
        this.place,
      );
      return plot;
    });
    this.draw();
  }

  private draw(): void {
    const now = this.last?.at ?? 0;
    const times = this.samples.map(({ at }) => (at - now) / 1000);
    for (const [at, { key }] of kinds.entries())
      this.plots[at]?.setData([
        times,
        ...this.names.map((name) => this.samples.map((sample) => sample[key].get(name) ?? null)),
      ]);
  }

  private width(): number {
    const { clientWidth } = this.place;
    const across = clientWidth > 1100 ? 4 : clientWidth > 600 ? 2 : 1;
    return Math.max(200, Math.floor(clientWidth / across) - 12);
  }

  private resize(): void {
    for (const plot of this.plots) plot.setSize({ width: this.width(), height: 150 });
  }
}
