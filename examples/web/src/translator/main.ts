/** The translator view: what is typed, picked or linked to is translated in one worker and run in another. */
import { byId, made, setText } from "./elements.js";
import { isas, isIsaName, MOST_SOURCE } from "./isas.js";
import { fragmentOf, LinkError, programOf, type SharedProgram } from "./link.js";
import { LinkedColumns } from "./linked-columns.js";
import { MachineView, statusText } from "./machine-view.js";
import type { IsaName, MachineState, TranslateAnswer, Translation } from "./protocol.js";
import { type Sample, samples } from "./samples.js";
import { RunnerWorker, TranslatorWorker } from "./workers.js";

/** Milliseconds after the last key until the program is translated. */
const TYPING_PAUSE = 250;

class TranslatorPage {
  private readonly main = document.querySelector("main")!;
  private readonly isaSelect = byId<HTMLSelectElement>("isa");
  private readonly sampleSelect = byId<HTMLSelectElement>("sample");
  private readonly columns = new LinkedColumns({
    onEdit: () => this.edited(),
    onBlock: (address) => this.choose(address),
    onBreakpoint: (address) => this.toggleBreakpoint(address),
  });
  private readonly machineView = new MachineView((address) => {
    this.columns.select(new Set([address]), true);
  });
  private readonly translator = new TranslatorWorker((answer) => this.translated(answer));
  private readonly runner = new RunnerWorker(
    (state) => this.took(state),
    (problem) => {
      this.isLoading = false;
      this.setBusy(false);
      this.say(problem);
    },
  );
  private isa: IsaName = "rv64";
  private block: string | undefined;
  /** The last program without a mistake, and what it was made of. */
  private translation: Translation | undefined;
  private asked = { isa: this.isa, source: "" };
  private state: MachineState | undefined;
  /** Whether a program was put into the machine that has not told its state. */
  private isLoading = false;
  private breakpoints = new Set<string>();
  private typing: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    for (const [name, { label }] of Object.entries(isas)) {
      const option = made("option", label);
      option.value = name;
      this.isaSelect.append(option);
    }
    this.isaSelect.addEventListener("change", () => this.changeIsa());
    this.sampleSelect.addEventListener("change", () => {
      const sample = samples[Number(this.sampleSelect.value)];
      if (sample !== undefined) this.open(sample, true);
    });
    const file = byId<HTMLInputElement>("file");
    file.addEventListener("change", () => {
      const [chosen] = file.files ?? [];
      if (chosen !== undefined) void this.openFile(chosen);
      file.value = "";
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      const dropped = event.dataTransfer?.files[0];
      if (dropped === undefined) return;
      event.preventDefault();
      void this.openFile(dropped);
    });
    byId("link").addEventListener("click", () => void this.copyLink());
    this.control("step", () => this.command({ kind: "step" }));
    this.control("run", () => {
      const isCounted = byId<HTMLInputElement>("counted").checked;
      this.command({ kind: "run", mode: isCounted ? "counted" : "engine" });
    });
    this.control("pause", () => this.runner.tell({ kind: "pause" }));
    this.control("reset", () => {
      this.machineView.beginAnew();
      this.runner.tell({ kind: "reset" });
    });
    addEventListener("popstate", () => void this.followLink());
  }

  /** Opens what the address names, or the first program. */
  async followLink(): Promise<void> {
    try {
      if (location.hash.length > 1) return this.openShared(await programOf(location.hash));
      this.say("");
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.say(`${error.message}; here is the first program instead`);
    }
    this.open(samples[0]!, false);
  }

  private openShared({ isa, block, source }: SharedProgram): void {
    this.say("");
    this.put(isa, source, block);
  }

  private open({ isas: offered, source }: Sample, isNew: boolean): void {
    if (isNew) {
      this.say("");
      // The way back leads to what was there.
      history.pushState(undefined, "", location.href);
    }
    this.put(offered.includes(this.isa) ? this.isa : offered[0]!, source, undefined);
  }

  private async openFile(file: File): Promise<void> {
    if (file.size > MOST_SOURCE)
      return this.say(`${file.name} has ${file.size} bytes: open assembly of at most ${MOST_SOURCE}`);
    const source = (await file.text()).replaceAll("\r\n", "\n");
    if (source.includes("\0")) return this.say(`${file.name} is no text: open a file of assembly`);
    this.open({ name: file.name, isas: [this.isa], source }, true);
  }

  private put(isa: IsaName, source: string, block: string | undefined): void {
    this.isa = isa;
    this.isaSelect.value = isa;
    this.columns.editor.text = source;
    this.block = block;
    this.offerSamples();
    this.translate();
  }

  private changeIsa(): void {
    const { value } = this.isaSelect;
    if (!isIsaName(value)) return;
    this.isa = value;
    const isUntouched = samples.some(({ source }) => source === this.columns.editor.text);
    const fitting = samples.find(
      ({ isas, source }) => isas.includes(value) && source === this.columns.editor.text,
    );
    if (isUntouched && fitting === undefined)
      this.open(samples.find(({ isas }) => isas.includes(value)) ?? samples[0]!, true);
    else this.put(value, this.columns.editor.text, undefined);
  }

  /** Programs of the instruction set; the one that is there, if it is one of them. */
  private offerSamples(): void {
    const source = this.columns.editor.text;
    const options = samples.flatMap(({ name, isas }, at) => {
      if (!isas.includes(this.isa)) return [];
      const option = made("option", name);
      option.value = String(at);
      return [option];
    });
    const own = made("option", "Your own");
    own.value = "";
    this.sampleSelect.replaceChildren(...options, own);
    const at = samples.findIndex((sample) => sample.isas.includes(this.isa) && sample.source === source);
    this.sampleSelect.value = at < 0 ? "" : String(at);
  }

  private edited(): void {
    this.setBusy(true);
    clearTimeout(this.typing);
    this.typing = setTimeout(() => {
      this.offerSamples();
      this.translate();
    }, TYPING_PAUSE);
  }

  private choose(block: string): void {
    this.block = block;
    this.translate();
  }

  private translate(): void {
    this.setBusy(true);
    clearTimeout(this.typing);
    this.asked = { isa: this.isa, source: this.columns.editor.text };
    this.translator.translate(this.isa, this.asked.source, this.block);
  }

  private translated(answer: TranslateAnswer): void {
    if (answer.kind === "mistake") {
      this.columns.setMistake(answer.line, answer.problem);
      this.setBusy(false);
      return;
    }
    const { translation } = answer;
    const before = this.translation;
    this.translation = translation;
    this.block = translation.stages.block;
    this.columns.show(translation, this.asked.source);
    setText(byId("plan"), isas[translation.image.isa].machine);
    if (before === undefined || !isSameImage(before, translation)) this.load(translation);
    else if (this.state !== undefined) this.showState(this.state);
    this.setBusy(this.isLoading);
    void this.updateLink();
  }

  private load({ image, rows }: Translation): void {
    const places = new Set(rows.filter(({ isData }) => !isData).map(({ address }) => address));
    this.breakpoints = new Set([...this.breakpoints].filter((address) => places.has(address)));
    this.isLoading = true;
    this.machineView.beginAnew();
    this.runner.load({ image, breakpoints: [...this.breakpoints] });
  }

  private toggleBreakpoint(address: string): void {
    if (!this.breakpoints.delete(address)) this.breakpoints.add(address);
    this.runner.tell({ kind: "breakpoints", addresses: [...this.breakpoints] });
  }

  private control(id: string, run: () => void): void {
    const button = byId(id);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") !== "true") run();
    });
  }

  private command(command: Parameters<RunnerWorker["tell"]>[0]): void {
    this.machineView.beginCommand();
    this.runner.tell(command);
  }

  private took(state: MachineState): void {
    if (this.isLoading) this.setBusy(false);
    this.isLoading = false;
    this.showState(state);
  }

  private showState(state: MachineState): void {
    this.state = state;
    const { status } = state;
    const isHalted = status === "ready" || status === "paused" || status === "breakpoint";
    // They keep the focus, so that the keyboard goes on where it was.
    byId("step").setAttribute("aria-disabled", String(!isHalted));
    byId("run").setAttribute("aria-disabled", String(!isHalted));
    byId("pause").setAttribute("aria-disabled", String(status !== "running"));
    byId("reset").setAttribute("aria-disabled", "false");
    setText(byId("status"), statusText(state));
    const labels = new Map(this.translation?.rows.map(({ address, labels: [first] }) => [address, first]));
    this.machineView.show(state, (address) => labels.get(address), this.block, this.breakpoints.size > 0);
    this.columns.showMachine(state, this.breakpoints);
  }

  private async updateLink(): Promise<void> {
    const { isa, block } = this;
    const source = this.columns.editor.text;
    const fragment = await fragmentOf({ isa, block: block ?? "0x0", source });
    if (source === this.columns.editor.text && block === this.block)
      history.replaceState(undefined, "", fragment);
  }

  private async copyLink(): Promise<void> {
    await this.updateLink();
    try {
      await navigator.clipboard.writeText(location.href);
      setText(byId("linked"), "The link is on the clipboard.");
    } catch {
      setText(byId("linked"), "The link is this page's address: copy it from there.");
    }
  }

  /** Whether the columns, or the machine, are not yet those of what was typed. */
  private setBusy(isBusy: boolean): void {
    this.main.setAttribute("aria-busy", String(isBusy));
  }

  private say(message: string): void {
    setText(byId("message"), message);
  }
}

function isSameImage({ image: one }: Translation, { image: other }: Translation): boolean {
  return (
    one.isa === other.isa &&
    one.blocks.join() === other.blocks.join() &&
    one.bytes.length === other.bytes.length &&
    one.bytes.every((byte, at) => byte === other.bytes[at])
  );
}

void new TranslatorPage().followLink();
