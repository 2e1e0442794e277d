/// <reference path="./xterm-css.d.ts" />
/**
 * `<hyperfile-machine>`: a machine with its terminal. What it starts from stands in its attributes; what happens to it is
 * told by events.
 */
import xtermStyle from "@xterm/xterm/css/xterm.css";
import { elementStyle } from "./element-style.js";
import { ElementTerminal } from "./element-terminal.js";
import type { PageMachineError } from "./errors.js";
import { memorySize } from "./memory-size.js";
import { PageMachine, type PageMachineOptions } from "./page-machine.js";
import type { PageMachineState } from "./protocol.js";

/** What the first button does in each state. */
const FIRST_ACTION: Readonly<Record<PageMachineState, string>> = {
  off: "Start",
  starting: "Start",
  running: "Pause",
  paused: "Resume",
};

let sheet: CSSStyleSheet | undefined;

/** The style sheet of all elements. */
function styleSheet(): CSSStyleSheet {
  if (sheet === undefined) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(`${xtermStyle}\n${elementStyle}`);
  }
  return sheet;
}

/**
 * A machine in a page.
 *
 * Attributes, read when it starts: `kernel`, `initrd`, `program` and `snapshot` (addresses of files), `append` (the kernel's
 * command line), `memory` (such as `64M`), `worker` (address of `web-worker.js`, where a bundler moved the element away from
 * it), `autostart` (it starts when it comes into the document). `state` reflects what it does. Events: `output`, `state` and
 * `end` of its machine, which bubble, and `error`, with one line, which does not, like that of an image.
 *
 * When it leaves the document its machine ends.
 */
export class HyperfileMachineElement extends HTMLElement {
  private readonly first = document.createElement("button");
  private readonly again = document.createElement("button");
  private readonly shown = document.createElement("span");
  private readonly screen = document.createElement("div");
  private readonly failure = document.createElement("p");
  private terminal: ElementTerminal | undefined;
  private current: PageMachine | undefined;

  constructor() {
    super();
    const { first, again, shown, screen, failure } = this;
    const bar = document.createElement("div");
    for (const [element, name] of [
      [bar, "bar"],
      [shown, "state"],
      [screen, "screen"],
      [failure, "failure"],
    ] as const) {
      element.className = name;
      element.part.add(name);
    }
    for (const button of [first, again]) {
      button.type = "button";
      button.part.add("button");
    }
    again.textContent = "Reset";
    first.addEventListener("click", () => void this.act().catch(() => {}));
    again.addEventListener("click", () => void this.reset().catch(() => {}));
    shown.role = "status";
    screen.role = "group";
    screen.ariaLabel = "Console; Shift+F6 leaves it";
    failure.role = "alert";
    bar.append(first, again, shown);
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [styleSheet()];
    root.append(bar, screen, failure);
    this.show("off");
  }

  /** Its machine; undefined before the first start. */
  get machine(): PageMachine | undefined {
    return this.current;
  }

  connectedCallback(): void {
    // It was moved inside the document.
    if (this.terminal !== undefined) return;
    this.terminal = new ElementTerminal(this.screen, {
      // Keys at a machine that is off are for nobody.
      typed: (bytes) => void this.current?.type(bytes).catch(() => {}),
      resized: (columns, rows) => this.current?.resize(columns, rows),
      left: () => this.first.focus(),
    });
    this.role ??= "group";
    if (!this.hasAttribute("aria-labelledby")) this.ariaLabel ??= "Virtual machine";
    this.setAttribute("state", this.current?.state ?? "off");
    if (this.hasAttribute("autostart")) void this.start().catch(() => {});
  }

  disconnectedCallback(): void {
    // One that is moved is connected again by then.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.current?.close();
      this.terminal?.dispose();
      this.terminal = undefined;
      this.screen.replaceChildren();
    });
  }

  /**
   * Starts a machine from what the attributes say, in place of one that it may have. Rejects with a
   * {@link PageMachineError}, whose line the element shows.
   */
  async start(): Promise<PageMachine> {
    this.current?.close();
    this.failure.textContent = "";
    this.terminal?.reset();
    let machine: PageMachine;
    try {
      const begun = PageMachine.begin(this.options());
      machine = begun.machine;
      this.current = machine;
      this.follow(machine);
      this.show("starting");
      await begun.started;
    } catch (error) {
      // One that was closed was not wanted any more.
      if ((error as PageMachineError).code !== "E_CLOSED") this.fail(error as PageMachineError);
      throw error;
    }
    return machine;
  }

  override focus(options?: FocusOptions): void {
    if (this.terminal === undefined) super.focus(options);
    else this.terminal.focus();
  }

  private options(): PageMachineOptions {
    const worker = this.getAttribute("worker");
    const memory = this.getAttribute("memory");
    const texts = ["kernel", "initrd", "program", "snapshot", "append"]
      .map((name) => [name, this.getAttribute(name)] as const)
      .filter(([, value]) => value !== null);
    return {
      ...(Object.fromEntries(texts) as PageMachineOptions),
      ...(memory === null ? {} : { memory: memorySize(memory) }),
      ...(worker === null
        ? {}
        : { worker: () => new Worker(new URL(worker, document.baseURI), { type: "module" }) }),
    };
  }

  private follow(machine: PageMachine): void {
    const isMine = () => machine === this.current;
    machine.addEventListener("output", (event) => {
      const { terminal } = this;
      if (terminal !== undefined) event.waitUntil(terminal.write(event.detail));
      this.tell("output", event.detail);
    });
    machine.addEventListener("state", ({ detail }) => {
      if (isMine()) this.show(detail);
    });
    machine.addEventListener("end", ({ detail }) => {
      if (detail.kind === "stuck") this.failure.textContent = detail.message;
      this.tell("end", detail);
    });
    machine.addEventListener("error", ({ error }) => this.fail(error));
    machine.resize(...(this.terminal?.size ?? [80, 24]));
  }

  private act(): Promise<unknown> {
    const machine = this.current;
    switch (machine?.state) {
      case "running":
        return machine.pause();
      case "paused":
        return machine.resume();
      default:
        return this.start();
    }
  }

  private async reset(): Promise<void> {
    this.failure.textContent = "";
    this.terminal?.reset();
    try {
      await this.current?.reset();
    } catch (error) {
      this.fail(error as PageMachineError);
    }
  }

  private show(state: PageMachineState): void {
    const { first, again, shown } = this;
    first.textContent = FIRST_ACTION[state];
    first.disabled = state === "starting";
    again.disabled = state !== "running" && state !== "paused";
    shown.textContent = state;
    // An element that is being made has no attributes.
    if (this.terminal === undefined || this.getAttribute("state") === state) return;
    this.setAttribute("state", state);
    this.tell("state", state);
  }

  private fail(error: PageMachineError): void {
    this.show("off");
    this.failure.textContent = error.message;
    this.dispatchEvent(new ErrorEvent("error", { message: error.message, error }));
  }

  private tell(type: "output" | "state" | "end", detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true }));
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "hyperfile-machine": HyperfileMachineElement;
  }
}

if (customElements.get("hyperfile-machine") === undefined)
  customElements.define("hyperfile-machine", HyperfileMachineElement);
