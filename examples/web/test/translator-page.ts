/** The translator view under test: what people see and do, by the names that they see. */
import type { Locator, Page } from "playwright-core";

/** Columns of lines. */
export type ColumnId = "disassembly" | "ir" | "optimised" | "javascript" | "wasm";

/** A page that shows the translator view. */
export class TranslatorPage {
  constructor(readonly page: Page) {}

  /** Replaces the program by one that has no mistake, and waits for its columns. */
  async type(source: string): Promise<void> {
    await this.page.locator("#source").fill(source);
    await this.settled();
  }

  /** Waits until columns and machine are those of what is in the editor, and of the block that was chosen. */
  async settled(): Promise<void> {
    await this.page.waitForSelector("main[aria-busy=false]");
  }

  /** Waits until the machine's state begins so; gives it. */
  async status(begin: string): Promise<string> {
    await this.page.waitForFunction(
      (wanted) => document.querySelector("#status")!.textContent!.startsWith(wanted),
      begin,
    );
    return (await this.page.textContent("#status"))!;
  }

  /** Presses one of the buttons. */
  async press(button: "Step" | "Run" | "Pause" | "Reset"): Promise<void> {
    await this.page.getByRole("button", { name: button, exact: true }).click();
  }

  /** Lines of a column with this text. */
  lines(column: ColumnId, text?: string | RegExp): Locator {
    const all = this.page.locator(`#${column} [role=option]`);
    return text === undefined ? all : all.filter({ hasText: text });
  }

  /** A column's text, line by line. */
  text(column: ColumnId): Promise<string[]> {
    return this.lines(column).allTextContents();
  }

  /** The highlighted lines of a column. */
  linked(column: ColumnId): Promise<string[]> {
    return this.page.locator(`#${column} .linked`).allTextContents();
  }

  /** Numbers of the highlighted lines of the source. */
  linkedSource(): Promise<string[]> {
    return this.page.locator("#layer .linked").allTextContents();
  }

  /** Registers that are shown, by name: hexadecimal, value, and whether the last command changed it. */
  async registers(): Promise<Record<string, { hex: string; value: string; changed: boolean }>> {
    const rows = await this.page
      .locator("#registers tbody tr")
      .evaluateAll((all) =>
        all.map((row) => [...(row as HTMLTableRowElement).cells].map((cell) => cell.textContent ?? "")),
      );
    return Object.fromEntries(
      rows.map(([name = "", hex = "", value = ""]) => [
        name.replace(" *", ""),
        { hex, value, changed: name.endsWith("*") },
      ]),
    );
  }

  /** The counts of instructions beside the disassembly. */
  counts(): Promise<string[]> {
    return this.page.locator("#disassembly .count").allTextContents();
  }

  /** What stands over the blocks of the disassembly: labels, arrivals, the tier. */
  heads(): Promise<string[]> {
    return this.page.locator("#disassembly .head").allTextContents();
  }

  /** Rows of the table of blocks. */
  blocks(): Promise<string[][]> {
    return this.page
      .locator("#blocks tbody tr")
      .evaluateAll((all) =>
        all.map((row) => [...(row as HTMLTableRowElement).cells].map((cell) => cell.textContent ?? "")),
      );
  }
}
