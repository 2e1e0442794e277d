/**
 * What a user does with the page's machines. The worker owns their states; the page shows what it said last, and asks.
 * Every refusal is one line below the terminal.
 */
import type { VmState } from "@hyperfile/broker/inline";
import type { VmRecipe } from "../host/protocol.js";
import { openFiles } from "./dropped-files.js";
import { element } from "./elements.js";
import { FleetTable } from "./fleet-table.js";
import { type GuestChoice, memorySizes } from "./guests.js";
import { NetworkView } from "./network-view.js";
import { Plots } from "./plots.js";
import type { VmHost } from "./vm-host.js";
import { VmTerminal } from "./vm-terminal.js";

/** Bytes of a disk that is made in the browser. */
const NEW_DISK_BYTES = 2 ** 30;
const MIB = 2 ** 20;

interface Shown {
  readonly name: string;
  readonly terminal: VmTerminal;
  readonly item: HTMLLIElement;
  readonly button: HTMLButtonElement;
  readonly recipe: VmRecipe;
  /** What it goes on from where its recipe boots nothing. */
  readonly snapshot: Uint8Array | undefined;
  state: VmState;
  end: string;
}

/** Actions of the toolbar, and the states in which they can be had. */
const actions = {
  start: ["off", "crashed"],
  pause: ["running", "paused"],
  reset: ["running"],
  stop: ["starting", "running", "paused"],
  clone: ["running", "paused"],
  clone20: ["running", "paused"],
  download: ["running", "paused"],
  keep: ["running", "paused"],
  remove: ["off", "crashed", "starting", "running", "paused"],
} as const satisfies Record<string, readonly VmState[]>;
type Action = keyof typeof actions;

/** The machines of the page. */
export class FleetView {
  private readonly vms = new Map<string, Shown>();
  private chosen: Shown | undefined;
  private choices: readonly GuestChoice[] = [];
  private readonly list = element("vm-list", HTMLUListElement);
  private readonly screen = element("screen", HTMLDivElement);
  private readonly message = element("message", HTMLParagraphElement);
  private readonly keptList = element("kept-list", HTMLUListElement);
  private readonly buttons: ReadonlyMap<Action, HTMLButtonElement>;
  private readonly network: NetworkView;

  constructor(private readonly host: VmHost) {
    const plots = new Plots(element("plots", HTMLDivElement));
    const body = element("fleet", HTMLTableElement).tBodies[0]!;
    const table = new FleetTable(body, {
      change: ({ kind, name }, change) =>
        void this.attempt(() =>
          kind === "pool"
            ? this.host.ask("configurePool", { pool: name, ...change })
            : this.host.ask("configure", { vm: name, ...change }),
        ),
      press: ({ kind, name }) => {
        if (kind === "machine") this.choose(name);
        else void this.attempt(() => this.removePool(name));
      },
    });
    this.network = new NetworkView(host, (work) => this.attempt(work));
    host.listen({
      state: ({ vm, state, end }) => {
        const shown = this.vms.get(vm);
        if (shown === undefined) return;
        shown.state = state;
        shown.end = end === undefined ? "" : endText(end);
        this.refresh(shown);
      },
      console: (vm, bytes) => {
        const { length } = bytes;
        // A machine that was removed has nobody to print for.
        const written = this.vms.get(vm)?.terminal.write(bytes) ?? Promise.resolve();
        void written.then(() => this.host.heard(vm, length));
      },
      figures: (figures) => {
        table.show(figures);
        plots.add(figures);
        this.network.show(figures);
      },
      problem: (text) => this.say(text, true),
      failed: (text) => this.say(text, true),
    });
    this.buttons = new Map(
      [...document.querySelectorAll<HTMLButtonElement>("#toolbar button")].map((button) => {
        const action = button.dataset.action as Action;
        button.addEventListener("click", () => void this.act(action));
        return [action, button];
      }),
    );
  }

  /** Offers systems, and has the first machine at work. */
  begin(choices: readonly GuestChoice[]): void {
    this.choices = choices;
    const guest = element("guest", HTMLSelectElement);
    const memory = element("memory", HTMLSelectElement);
    guest.replaceChildren(...choices.map(({ id, title }) => new Option(title, id)));
    memory.replaceChildren(...memorySizes.map((size) => new Option(`${size} MiB`, String(size))));
    const network = element("network", HTMLSelectElement);
    const preset = () => {
      const choice = this.choices.find(({ id }) => id === guest.value);
      memory.value = String(choice?.memory ?? memorySizes[0]);
      network.disabled = choice?.hasNetwork === false;
    };
    element("pool", HTMLSelectElement).replaceChildren(new Option("none", ""));
    guest.addEventListener("change", preset);
    preset();
    element("new-vm", HTMLFormElement).addEventListener("submit", (event) => {
      event.preventDefault();
      const disk = element("disk", HTMLSelectElement).value;
      void this.attempt(() => this.launch(guest.value, Number(memory.value) * MIB, disk === "private"));
    });
    const pools = element("new-pool", HTMLFormElement);
    pools.addEventListener("submit", (event) => {
      event.preventDefault();
      const name = String(new FormData(pools).get("pool"));
      void this.attempt(async () => {
        await this.addPool(name);
        pools.reset();
      });
    });
    const files = element("files", HTMLInputElement);
    files.addEventListener("change", () => {
      void this.attempt(() => this.open([...(files.files ?? [])]));
      files.value = "";
    });
    this.acceptDrops();
    new ResizeObserver(() => this.chosen?.terminal.fill()).observe(this.screen);
    this.refreshToolbar();
    void this.attempt(() => this.showKept());
    void this.attempt(() => this.launch(choices[0]!.id, choices[0]!.memory * MIB, false));
  }

  /** Makes a machine of a system and starts it. */
  private async launch(id: string, ramBytes: number, hasDisk: boolean): Promise<void> {
    const choice = this.choices.find((each) => each.id === id)!;
    const tell = (text: string) => this.say(text);
    const name = this.freeName(id);
    const saved = hasDisk ? undefined : await choice.saved?.(ramBytes, tell);
    if (saved !== undefined) {
      await this.add(name, { ...saved.recipe, isPlugged: this.isWired }, saved.snapshot);
      this.say("");
      return;
    }
    const recipe = await choice.recipe(ramBytes, tell);
    const disks: VmRecipe["disks"] = hasDisk
      ? [{ kind: "private", name: `disks/${name}.qcow2`, format: "qcow2", size: NEW_DISK_BYTES }]
      : [];
    await this.add(name, { ...recipe, disks, nics: choice.hasNetwork && this.isWired ? 1 : 0 });
    this.say("");
  }

  /** Opens what a user has dropped or chosen. */
  private async open(files: readonly File[]): Promise<void> {
    if (files.length === 0) return;
    const opened = await openFiles(files);
    const name = this.freeName(opened.name);
    if (opened.kind === "snapshot") {
      const recipe = await this.host.ask("describe", { snapshot: opened.bytes });
      await this.add(name, recipe, opened.bytes);
    } else {
      const memory = Number(element("memory", HTMLSelectElement).value) * MIB;
      // A bare-metal program has no driver for a card.
      const nics = opened.recipe.boot?.program === undefined && this.isWired ? 1 : 0;
      await this.add(name, { ...opened.recipe, ramBytes: memory, nics });
    }
    this.say("");
  }

  /** Whether a new machine is to be in the page's network. */
  private get isWired(): boolean {
    return element("network", HTMLSelectElement).value === "page";
  }

  private async addPool(name: string): Promise<void> {
    await this.host.ask("addPool", { pool: name, cpu: {} });
    element("pool", HTMLSelectElement).add(new Option(name, name));
  }

  private async removePool(name: string): Promise<void> {
    await this.host.ask("removePool", { pool: name });
    const select = element("pool", HTMLSelectElement);
    select.remove([...select.options].findIndex(({ value }) => value === name));
  }

  /** Makes a machine in the pool that is chosen, and starts it. */
  private async add(name: string, made: VmRecipe, snapshot?: Uint8Array): Promise<void> {
    const pool = element("pool", HTMLSelectElement).value;
    const recipe = pool === "" ? made : { ...made, pool };
    await this.host.ask("add", { vm: name, recipe });
    this.showVm(name, recipe, snapshot);
    try {
      await this.start(name);
    } catch (error) {
      await this.forget(name);
      throw error;
    }
  }

  private async start(vm: string): Promise<void> {
    const { snapshot, recipe, terminal } = this.vms.get(vm)!;
    const isFrom = snapshot !== undefined && recipe.boot === undefined;
    await this.host.ask("start", { vm, ...(isFrom ? { snapshot } : {}) });
    const { columns, rows } = terminal.size;
    this.host.resize(vm, columns, rows);
  }

  private async act(action: Action): Promise<void> {
    const { chosen } = this;
    if (chosen === undefined) return;
    const { name: vm, state } = chosen;
    await this.attempt(async () => {
      switch (action) {
        case "start":
          return this.start(vm);
        case "pause":
          await this.host.ask(state === "paused" ? "resume" : "pause", { vm });
          return;
        case "reset":
          if (chosen.recipe.boot !== undefined) await this.host.ask("reset", { vm });
          else {
            // It boots nothing: it begins where its snapshot does.
            await this.host.ask("stop", { vm });
            await this.start(vm);
          }
          return;
        case "stop":
          await this.host.ask("stop", { vm });
          return;
        case "clone":
          return this.clone(vm, 1);
        case "clone20":
          return this.clone(vm, 20);
        case "download":
          return this.download(vm);
        case "keep":
          return this.keep(vm);
        case "remove":
          await this.host.ask("remove", { vm });
          await this.forget(vm);
      }
    });
  }

  private async clone(vm: string, count: number): Promise<void> {
    const original = this.vms.get(vm)!;
    let milliseconds = 0;
    for (let made = 0; made < count; made++) {
      const name = this.freeName(vm.replace(/-\d+$/, ""));
      const terminal = this.showVm(name, original.recipe, original.snapshot, false);
      try {
        milliseconds += await this.host.ask("clone", { vm, name });
      } catch (error) {
        await this.forget(name);
        throw error;
      }
      // What its original has shown is its past, too.
      void terminal.write(new TextEncoder().encode(original.terminal.text.replaceAll("\n", "\r\n")));
      if (count === 1) this.choose(name);
    }
    this.say(`${count === 1 ? "1 copy" : `${count} copies`} of ${vm}, made in ${milliseconds.toFixed(1)} ms`);
  }

  private async download(vm: string): Promise<void> {
    const bytes = await this.host.ask("save", { vm });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([bytes as Uint8Array<ArrayBuffer>]));
    link.download = `${vm}.snapshot`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    // A program's machine would need a card of the same address.
    const isPlain = (this.vms.get(vm)?.recipe.nics ?? 0) === 0;
    this.say(
      `${vm}.snapshot: ${(bytes.length / MIB).toFixed(1)} MiB; open it here${isPlain ? ", or go on with hyperfile run --restore" : ""}`,
    );
  }

  private async keep(vm: string): Promise<void> {
    const bytes = await this.host.ask("keep", { vm, name: vm });
    await this.showKept();
    this.say(`${vm} is kept in this browser as it is now: ${(bytes / MIB).toFixed(1)} MiB`);
  }

  private async showKept(): Promise<void> {
    const kept = await this.host.ask("kept", {});
    this.keptList.replaceChildren(
      ...kept.map(({ name, bytes }) => {
        const item = document.createElement("li");
        const open = document.createElement("button");
        open.type = "button";
        open.textContent = `Go on with ${name}`;
        open.addEventListener("click", () => void this.attempt(() => this.goOn(name)));
        const drop = document.createElement("button");
        drop.type = "button";
        drop.textContent = "Delete";
        drop.ariaLabel = `Delete ${name}`;
        drop.addEventListener("click", () => void this.attempt(() => this.dropKept(name)));
        const size = document.createElement("span");
        size.textContent = `${(bytes / MIB).toFixed(1)} MiB`;
        item.append(open, size, drop);
        return item;
      }),
    );
    element("kept", HTMLElement).hidden = kept.length === 0;
  }

  private async goOn(kept: string): Promise<void> {
    const snapshot = await this.host.ask("take", { name: kept });
    const recipe = await this.host.ask("describe", { snapshot });
    await this.add(this.freeName(kept), recipe, snapshot);
  }

  private async dropKept(name: string): Promise<void> {
    await this.host.ask("dropKept", { name });
    await this.showKept();
  }

  private showVm(
    name: string,
    recipe: VmRecipe,
    snapshot: Uint8Array | undefined,
    isChosen = true,
  ): VmTerminal {
    const terminal = new VmTerminal(name, {
      typed: (bytes) => this.host.type(name, bytes),
      resized: (columns, rows) => this.host.resize(name, columns, rows),
    });
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => {
      this.choose(name);
      terminal.focus();
    });
    item.append(button);
    this.list.append(item);
    const shown: Shown = { name, terminal, item, button, recipe, snapshot, state: "off", end: "" };
    this.vms.set(name, shown);
    if (isChosen || this.chosen === undefined) this.choose(name);
    this.refresh(shown);
    return terminal;
  }

  private async forget(name: string): Promise<void> {
    const shown = this.vms.get(name);
    if (shown === undefined) return;
    await this.host.ask("remove", { vm: name }).catch(() => {});
    shown.item.remove();
    shown.terminal.dispose();
    this.vms.delete(name);
    if (this.chosen !== shown) return;
    this.chosen = undefined;
    this.network.chooseVm(undefined);
    const [next] = this.vms.keys();
    if (next === undefined) this.refreshToolbar();
    else this.choose(next);
  }

  private choose(name: string): void {
    const shown = this.vms.get(name);
    if (shown === undefined) return;
    this.chosen = shown;
    this.network.chooseVm(name);
    shown.terminal.show(this.screen);
    for (const each of this.vms.values()) this.refresh(each);
  }

  private refresh(shown: Shown): void {
    const { button, name, state, end } = shown;
    button.textContent = `${name}: ${state}${end}`;
    button.ariaCurrent = shown === this.chosen ? "true" : "false";
    if (shown === this.chosen) this.refreshToolbar();
  }

  private refreshToolbar(): void {
    const { chosen } = this;
    for (const [action, button] of this.buttons) {
      const states: readonly VmState[] = actions[action];
      button.disabled = chosen === undefined || !states.includes(chosen.state);
    }
    this.buttons.get("pause")!.textContent = chosen?.state === "paused" ? "Resume" : "Pause";
  }

  private freeName(wish: string): string {
    if (!this.vms.has(wish)) return wish;
    let number = 2;
    while (this.vms.has(`${wish}-${number}`)) number++;
    return `${wish}-${number}`;
  }

  private acceptDrops(): void {
    const veil = element("drop", HTMLDivElement);
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
    addEventListener("dragover", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      veil.hidden = false;
    });
    addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) veil.hidden = true;
    });
    addEventListener("drop", (event) => {
      veil.hidden = true;
      if (!hasFiles(event)) return;
      event.preventDefault();
      void this.attempt(() => this.open([...event.dataTransfer!.files]));
    });
  }

  /** Does something, and shows what is refused. */
  private async attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.say((error as Error).message, true);
    }
  }

  private say(text: string, isError = false): void {
    this.message.textContent = text;
    this.message.classList.toggle("error", isError);
  }
}

const endText = (end: {
  readonly kind: string;
  readonly status: number;
  readonly message?: string;
}): string =>
  end.message !== undefined ? `, ${end.message}` : end.status === 0 ? "" : `, status ${end.status}`;
