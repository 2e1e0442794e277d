/** The terminal inside a machine's element. */
import { FitAddon } from "@xterm/addon-fit";
import { type ITheme, Terminal } from "@xterm/xterm";

/** Lines that can be scrolled back to. */
const SCROLLBACK = 2000;

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

/** Where what happens in a terminal goes. */
export interface TerminalListener {
  typed(bytes: Uint8Array): void;
  resized(columns: number, rows: number): void;
  /** The user wants the keyboard back from the guest. */
  left(): void;
}

/** A terminal that fills its place and follows the page's light or dark. */
export class ElementTerminal {
  private readonly terminal: Terminal;
  private readonly scheme = matchMedia("(prefers-color-scheme: dark)");
  private readonly encoder = new TextEncoder();
  private readonly observer: ResizeObserver;
  private readonly follow = (): void => {
    this.terminal.options.theme = this.scheme.matches ? dark : light;
  };

  constructor(place: HTMLElement, listener: TerminalListener) {
    this.terminal = new Terminal({
      scrollback: SCROLLBACK,
      fontFamily: 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
      fontSize: 14,
    });
    const fit = new FitAddon();
    this.terminal.loadAddon(fit);
    this.terminal.onData((text) => listener.typed(this.encoder.encode(text)));
    this.terminal.onBinary((text) => listener.typed(Uint8Array.from(text, (each) => each.charCodeAt(0))));
    this.terminal.onResize(({ cols, rows }) => listener.resized(cols, rows));
    // Tab is the guest's: without a way out, whoever has no mouse would be caught.
    this.terminal.attachCustomKeyEventHandler((event) => {
      if (event.key !== "F6" || !event.shiftKey) return true;
      event.preventDefault();
      if (event.type === "keydown") listener.left();
      return false;
    });
    this.follow();
    this.scheme.addEventListener("change", this.follow);
    this.terminal.open(place);
    this.observer = new ResizeObserver(() => fit.fit());
    this.observer.observe(place);
  }

  /** Columns and rows. */
  get size(): readonly [number, number] {
    return [this.terminal.cols, this.terminal.rows];
  }

  /** Shows bytes; resolves when they have been. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.terminal.write(bytes, resolve));
  }

  /** Empties it. */
  reset(): void {
    this.terminal.reset();
  }

  focus(): void {
    this.terminal.focus();
  }

  dispose(): void {
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.follow);
    this.terminal.dispose();
  }
}
