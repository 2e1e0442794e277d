/** Where dumps go: a file, or standard error. Text is gathered and written in large pieces. */
import { closeSync, openSync, writeSync } from "node:fs";
import { CliError, fileErrorReason } from "./errors.js";

const GATHERED_CHARACTERS = 1 << 16;

/** A place for text. */
export interface TextSink {
  write(text: string): void;
  /** Writes what was gathered, and closes the file. */
  close(): void;
}

/**
 * Opens a file for dumps, or gives standard error if no file is named.
 * @throws CliError `E_DUMP` if the file can't be written
 */
export function openDumpSink(name: string | undefined, error: (text: string) => void): TextSink {
  if (name === undefined) return gather(error, () => {});
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (cause) {
      throw new CliError("E_DUMP", `can't write the dump to ${name}: ${fileErrorReason(cause)}`, { cause });
    }
  };
  const file = attempt(() => openSync(name, "w"));
  return gather(
    (text) => attempt(() => void writeSync(file, text)),
    () => closeSync(file),
  );
}

function gather(write: (text: string) => void, close: () => void): TextSink {
  let gathered = "";
  const flush = () => {
    if (gathered !== "") write(gathered);
    gathered = "";
  };
  return {
    write(text) {
      gathered += text;
      if (gathered.length >= GATHERED_CHARACTERS) flush();
    },
    close() {
      flush();
      close();
    },
  };
}
