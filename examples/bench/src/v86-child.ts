/** Runs one image in v86, in a process of its own: `v86-child.js MEBIBYTES IMAGE`. Prints its output and the time. */
import { readFile } from "node:fs/promises";
import { runInV86 } from "./v86-machine.js";

const [mebibytes, image] = process.argv.slice(2);
if (mebibytes === undefined || image === undefined) {
  process.stderr.write("usage: v86-child.js MEBIBYTES IMAGE\n");
  process.exit(2);
}
const { output, seconds } = await runInV86(await readFile(image), Number(mebibytes));
process.stdout.write(`${output}seconds=${seconds.toFixed(6)}\n`, () => process.exit(0));
