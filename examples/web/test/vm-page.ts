/** The page of machines, as a user has it before him. */

import type { Page } from "playwright-core";
import { expect } from "vitest";

/** Milliseconds that a guest may take: hosts of tests are slow, and this is a guard. */
const PATIENCE = 60_000;

/** A page. */
export class VmPage {
  constructor(readonly page: Page) {}

  /** The terminal's rows that can be seen. */
  async rows(): Promise<string> {
    return this.page.evaluate(() =>
      [...document.querySelectorAll("#screen .xterm-rows > div")]
        .map((row) => row.textContent?.replaceAll("\u00a0", " ").trimEnd())
        .join("\n"),
    );
  }

  /** Waits until the terminal shows something. */
  async shows(what: RegExp): Promise<void> {
    await expect.poll(() => this.rows(), { timeout: PATIENCE, interval: 50 }).toMatch(what);
  }

  /** Waits until a machine's entry in the list says something. */
  async is(vm: string, state: string): Promise<void> {
    await this.page
      .locator("#vm-list button", { hasText: new RegExp(`^${vm}: ${state}`) })
      .waitFor({ timeout: PATIENCE });
  }

  /** Waits for the line below the terminal. */
  async says(what: RegExp): Promise<void> {
    await expect
      .poll(() => this.page.textContent("#message"), { timeout: PATIENCE, interval: 50 })
      .toMatch(what);
  }

  async type(text: string): Promise<void> {
    await this.page.click("#screen");
    await this.page.keyboard.type(text);
  }

  async press(action: string): Promise<void> {
    await this.page.click(`#toolbar [data-action="${action}"]`);
  }

  async choose(vm: string): Promise<void> {
    await this.page.locator("#vm-list button", { hasText: new RegExp(`^${vm}:`) }).click();
  }

  /** Names and states of all machines. */
  async list(): Promise<string[]> {
    return this.page.locator("#vm-list button").allTextContents();
  }

  /** Milliseconds of CPU time of each machine, in the order of the table. */
  async used(): Promise<number[]> {
    return this.page
      .locator("#fleet tbody tr td:nth-child(3)[title]")
      .evaluateAll((cells) => cells.map((cell) => 1000 * Number.parseFloat((cell as HTMLElement).title)));
  }

  /** Starts another machine. */
  async launch(
    guest: string,
    options: { readonly hasDisk?: boolean; readonly network?: "page" | "none" } = {},
  ): Promise<void> {
    await this.page.selectOption("#guest", guest);
    if (options.network !== undefined) await this.page.selectOption("#network", options.network);
    await this.page.selectOption("#disk", options.hasDisk === true ? "private" : "");
    await this.page.click("#new-vm button[type=submit]");
  }

  /** Opens files as a drop of them does. */
  async drop(files: readonly { readonly name: string; readonly bytes: Uint8Array }[]): Promise<void> {
    const plain = files.map(({ name, bytes }) => ({ name, text: Buffer.from(bytes).toString("base64") }));
    await this.page.evaluate((dropped) => {
      const data = new DataTransfer();
      for (const { name, text } of dropped)
        data.items.add(new File([Uint8Array.from(atob(text), (each) => each.charCodeAt(0))], name));
      for (const kind of ["dragover", "drop"])
        document.body.dispatchEvent(
          new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }),
        );
    }, plain);
  }
}
