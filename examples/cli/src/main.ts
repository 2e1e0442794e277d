/** The program's entry point: connects the command line with the process. */
import { version } from "../package.json";
import { errorLine } from "./errors.js";
import { runProgram } from "./program.js";
import { setV8Flags } from "./v8-flags.js";

const { stdin, stdout, stderr } = process;

/** Ends the process once everything written is out; a reader that went away must not keep it alive. */
function finish(status: number): void {
  stdout.write("", () => process.exit(status));
}

// A closed pipe on either output is the reader's choice and not an error of ours.
stdout.on("error", () => {});
stderr.on("error", () => {});
process.on("uncaughtException", (error) => {
  stderr.write(`${errorLine(error)}\n`);
  process.exit(1);
});

setV8Flags();

finish(
  await runProgram(process.argv.slice(2), {
    version,
    program: [process.execPath, process.argv[1]],
    machine: () => import("./machine.js"),
    progressOutput: stderr,
    write: (text) => stdout.write(text),
    streams: { input: stdin, output: stdout, error: (text) => stderr.write(text) },
  }),
);
