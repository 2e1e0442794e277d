/** Floating-point control and status (unprivileged manual, 21.2). They are slots, and are saved as such. */
import { type CsrFile, CsrOutcome, type CsrRow } from "./csr-file.js";
import { csr } from "./row.js";

const whileOn = { isFloat: true, isAllowed: (file: CsrFile): boolean => file.floatOn } as const;

export const floatCsrs: readonly CsrRow[] = [
  csr("fflags", {
    ...whileOn,
    read: (file) => file.give(file.words[file.fflags]!, 0),
    write: (file, lo) => write(file, lo & 31, file.words[file.frm]!),
  }),
  csr("frm", {
    ...whileOn,
    read: (file) => file.give(file.words[file.frm]!, 0),
    write: (file, lo) => write(file, file.words[file.fflags]!, lo & 7),
  }),
  csr("fcsr", {
    ...whileOn,
    read: (file) => file.give((file.words[file.frm]! << 5) | file.words[file.fflags]!, 0),
    write: (file, lo) => write(file, lo & 31, (lo >>> 5) & 7),
  }),
];

function write(file: CsrFile, flags: number, mode: number): CsrOutcome {
  file.words[file.fflags] = flags;
  file.words[file.frm] = mode;
  file.hart.markFloatDirty();
  return CsrOutcome.done;
}
