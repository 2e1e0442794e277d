/** The command line of Debian's kernel, with the words that the guest's init script reads; see `init-script.ts`. */

/** What a guest is told. */
export interface DebianCommandLine {
  /** The console is fed from a pipe: no prompt and no echo, and the end of the input ends the guest. */
  readonly piped?: boolean;
  /** Size of the terminal in characters; both or neither. */
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** Further words. */
  readonly append?: string | undefined;
}

/** The command line. */
export function debianCommandLine({ piped, columns, rows, append }: DebianCommandLine = {}): string {
  const words = ["console=ttyS0"];
  if (piped) words.push("quiet", "hyperfile.input=pipe");
  // A serial line can't convey its size, so that the script is told.
  else if (columns && rows) words.push(`hyperfile.size=${columns}x${rows}`);
  if (append) words.push(append);
  return words.join(" ");
}
