/** The terminal of one VM: made with it, shown when it is chosen. */
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";

/** Lines that can be scrolled back to. */
const SCROLLBACK = 5000;

const dark: ITheme = {
  background: "#11161d",
  foreground: "#d7dee8",
  cursor: "#7fd1b9",
  selectionBackground: "#33506b",
};
const light: ITheme = {
  background: "#fbfbf8",
  foreground: "#1d2630",
  cursor: "#0b6e5c",
  selectionBackground: "#bcd9ee",
};
const scheme = matchMedia("(prefers-color-scheme: dark)");

/** Where what is typed goes. */
export interface TerminalListener {
  typed(bytes: Uint8Array): void;
  resized(columns: number, rows: number): void;
}

/** A terminal. */
export class VmTerminal {
  /** What holds it in the page. */
  readonly element = document.createElement("div");
  private readonly terminal: Terminal;
  private readonly fit = new FitAddon();
  private readonly encoder = new TextEncoder();
  private readonly follow = (): void => {
    this.terminal.options.theme = scheme.matches ? dark : light;
  };
  private isOpen = false;

  constructor(name: string, listener: TerminalListener) {
    this.element.className = "terminal";
    this.element.role = "group";
    this.element.ariaLabel = `Console of ${name}`;
    this.terminal = new Terminal({
      scrollback: SCROLLBACK,
      fontFamily: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 14,
      theme: scheme.matches ? dark : light,
      screenReaderMode: false,
    });
    this.terminal.loadAddon(this.fit);
    this.terminal.onData((text) => listener.typed(this.encoder.encode(text)));
    this.terminal.onBinary((text) => listener.typed(Uint8Array.from(text, (each) => each.charCodeAt(0))));
    this.terminal.onResize(({ cols, rows }) => listener.resized(cols, rows));
    scheme.addEventListener("change", this.follow);
  }

  /** Columns and rows. */
  get size(): { readonly columns: number; readonly rows: number } {
    return { columns: this.terminal.cols, rows: this.terminal.rows };
  }

  /** Shows bytes; resolves when they have been. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.terminal.write(bytes, resolve));
  }

  /** Shows it in the page, in the place that it is given. */
  show(place: HTMLElement): void {
    place.replaceChildren(this.element);
    if (!this.isOpen) this.terminal.open(this.element);
    this.isOpen = true;
    this.fill();
  }

  /** Takes the room that there is. */
  fill(): void {
    if (this.isOpen && this.element.isConnected) this.fit.fit();
  }

  focus(): void {
    this.terminal.focus();
  }

  /** Its text, for tests and for whoever copies all of it. */
  get text(): string {
    const { active } = this.terminal.buffer;
    const lines: string[] = [];
    for (let row = 0; row < active.length; row++) {
      const line = active.getLine(row);
      if (line === undefined) continue;
      if (line.isWrapped && lines.length > 0) lines.push(`${lines.pop()}${line.translateToString(true)}`);
      else lines.push(line.translateToString(true));
    }
    return lines.join("\n").trimEnd();
  }

  dispose(): void {
    scheme.removeEventListener("change", this.follow);
    this.terminal.dispose();
    this.element.remove();
  }
}
