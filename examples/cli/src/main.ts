/** The program's entry point: connects the command line with the process. */
import { version } from "../package.json";
import { errorLine } from "./errors.js";
import { runProgram } from "./program.js";
import { StandardOutput, statusOfOutput } from "./standard-output.js";
import { setV8Flags } from "./v8-flags.js";

const output = new StandardOutput(process.stdout);
const errors = new StandardOutput(process.stderr);

/** Ends the process once everything written is out. */
async function finish(own: number): Promise<never> {
  await output.flush();
  const { status, line = "" } = statusOfOutput(own, output, errors);
  errors.write(line);
  await errors.flush();
  process.exit(status);
}

process.on("uncaughtException", (error) => {
  errors.write(`${errorLine(error)}\n`);
  void finish(1);
});

setV8Flags();

await finish(
  await runProgram(process.argv.slice(2), {
    version,
    program: [process.execPath, process.argv[1]],
    machine: () => import("./machine.js"),
    progressOutput: process.stderr,
    write: (text) => output.write(text),
    streams: { input: process.stdin, output, errors, error: (text) => errors.write(text) },
  }),
);
