/** The NES emulator jsnes with its own CPU and with ours: its benchmark is a program of that example. */
import { join } from "node:path";
import { runChild } from "./processes.js";
import { benchFolder } from "./suite.js";

/** Seconds after which it must have ended. */
const TIMEOUT = 600;

/** The table that the console's benchmark prints. */
export async function runNes(isQuick: boolean): Promise<string> {
  const program = join(benchFolder, "..", "jsnes", "dist", "main.js");
  const { output } = await runChild(process.execPath, [program, ...(isQuick ? ["--quick"] : [])], {
    timeout: TIMEOUT,
  });
  return output.trimEnd();
}
