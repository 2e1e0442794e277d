/** Where dumps go: a file, or standard error. Text is gathered and written in large pieces. */

import { closeSync, writeFileSync } from "node:fs";
import { fileErrorReason } from "@hyperfile/broker/host";
import { CliError } from "./errors.js";
import { openOutput } from "./output-file.js";

const GATHERED_CHARACTERS = 1 << 16;

/** A place for text. */
export interface TextSink {
  write(text: string): void;
  /** Writes what was gathered, and closes the file. @throws CliError `E_DUMP` */
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
  const file = attempt(() => openOutput(name));
  return gather(
    // All of it: a write to a disk that fills takes a part and says so only to who looks.
    (text) => attempt(() => writeFileSync(file, text)),
    () => attempt(() => closeSync(file)),
  );
}

function gather(write: (text: string) => void, close: () => void): TextSink {
  let gathered = "";
  const flush = () => {
    const text = gathered;
    // Once: what can't be written now is not tried again at the end.
    gathered = "";
    if (text !== "") write(text);
  };
  return {
    write(text) {
      gathered += text;
      if (gathered.length >= GATHERED_CHARACTERS) flush();
    },
    close() {
      try {
        flush();
      } finally {
        close();
      }
    },
  };
}
