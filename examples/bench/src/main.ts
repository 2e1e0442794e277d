/** The program's entry point: connects the command line with the process. */
import { version } from "../package.json";
import { runBench } from "./program.js";

process.exitCode = await runBench(process.argv.slice(2), {
  version,
  write: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
});
