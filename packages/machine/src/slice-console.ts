/**
 * The machine's end of its console: a slice ends after so much output, so that what the host takes of it decides when
 * the next one begins. Where it ends depends on what the guest prints and not on when it is taken: runs repeat.
 */
import type { ConsoleBackend } from "@hyperfile/devices";

/** Console output after which a slice ends, in bytes. */
const SLICE_OUTPUT = 32_768;

/** Counts the output of a slice. */
export class SliceConsole implements ConsoleBackend {
  /** Bytes printed since the slice, and the look at the devices before it, began. */
  private printed = 0;

  /** @param endSlice is called when it is full */
  constructor(
    private readonly backend: ConsoleBackend,
    private readonly endSlice: () => void,
  ) {}

  write(bytes: Uint8Array): void {
    this.printed += bytes.length;
    if (this.full()) this.endSlice();
    this.backend.write(bytes);
  }

  /** Whether the slice has to end before anything else is printed. */
  full(): boolean {
    return this.printed >= SLICE_OUTPUT;
  }

  /** Another slice begins. */
  begin(): void {
    this.printed = 0;
  }
}
