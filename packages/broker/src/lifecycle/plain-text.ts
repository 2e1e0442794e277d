/**
 * A guest's console output without the control sequences of terminals. Invariant: a sequence or a line end may be cut
 * anywhere between two chunks.
 */

/** Longest beginning of a control sequence that is held back until its end comes. */
const LONGEST_SEQUENCE = 64;

/** Takes control sequences (ECMA-48, 5.4) and carriage returns out of a console's output. */
export class PlainText {
  private readonly decoder = new TextDecoder();
  /** The beginning of a sequence whose end has not come. */
  private held = "";

  /** The text of the next chunk. */
  take(bytes: Uint8Array): string {
    const text = this.held + this.decoder.decode(bytes, { stream: true });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control sequences begin with one
    const open = /\x1b(?:\[[0-?]*[ -/]*)?$/.exec(text.slice(-LONGEST_SEQUENCE))?.[0] ?? "";
    this.held = open;
    const whole = text.slice(0, text.length - open.length);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
    return whole.replace(/\x1b\[[0-?]*[ -/]*[@-~]/g, "").replaceAll("\r", "");
  }
}
