/** `hyperfile top`: where a VM spends its time, from the profile that it writes while it runs. */
import { setTimeout as sleep } from "node:timers/promises";
import { isAlive, type Profile, profileOfProcess, readProfile } from "../profile-file.js";
import { readNamedFile } from "./options.js";

/** The options of `top`. */
export interface TopFlags {
  /** Rows of the table. */
  count: number;
  /** Address of the code to show. */
  at?: bigint;
  /** Whether the rows' assembly is shown. */
  assembly?: boolean;
  /** Whether to go on until the VM ends. */
  follow?: boolean;
  /** File with the names of functions. */
  symbols?: string;
}

/** The screen that `top` follows a VM on. */
export interface TopOutput {
  readonly isTTY?: boolean | undefined;
  readonly rows?: number | undefined;
  /** Why nothing can be written to it any more. */
  readonly failure?: Error | undefined;
  write(bytes: Uint8Array): unknown;
}

/** Moves to the upper left corner and clears the screen from there (ECMA-48, CUP and ED). */
const CLEAR_SCREEN = new TextEncoder().encode("\x1b[H\x1b[J");

/**
 * Writes a profile as text through `write`; with `follow` whenever it changes, until the VM has ended. Gives the
 * exit status.
 * @param name a file, or the number of the process that runs the VM
 */
export async function top(
  name: string,
  flags: TopFlags,
  output: TopOutput,
  write: (text: string) => void,
): Promise<number> {
  const { topLines } = await import("../top.js");
  const file = /^\d+$/.test(name) ? profileOfProcess(Number(name)) : name;
  const symbolAt = flags.symbols === undefined ? undefined : await finderOf(flags.symbols);
  let shown = "";
  for (;;) {
    const profile = await readLatest(file);
    const ended = profile.state === "ended";
    const lines = topLines(profile, {
      rows: flags.count,
      at: flags.at,
      assembly: flags.assembly ?? false,
      symbolAt,
    });
    const live = flags.follow === true && output.isTTY === true && !ended;
    const text = `${(live ? lines.slice(0, (output.rows ?? lines.length + 1) - 1) : lines).join("\n")}\n`;
    if (text !== shown) {
      if (output.isTTY === true && flags.follow) output.write(CLEAR_SCREEN);
      write(text);
    }
    shown = text;
    if (!flags.follow || ended || output.failure !== undefined) return 0;
    await sleep(profile.interval);
  }
}

/** The profile; one whose VM was killed says that it has ended. */
async function readLatest(file: string): Promise<Profile> {
  const profile = await readProfile(file);
  if (profile.state === "ended" || isAlive(profile.pid)) return profile;
  // The process may have written its last profile between the reading and the asking.
  return { ...(await readProfile(file)), state: "ended" };
}

/** Finds names by a file of symbols; what reads it is loaded only here. */
async function finderOf(name: string) {
  const { symbolFinder, symbolsIn } = await import("@hyperfile/machine");
  return symbolFinder(symbolsIn(await readNamedFile("symbols", name)));
}
