/**
 * The soak as a program: `node examples/soak/dist/main.js [--seconds N] [--vms N] [--clients N] [--seed N] [--cores N]`, after
 * `npm run setup`. Its status is 1 if a requirement is not met. A first SIGINT or SIGTERM ends the run early.
 */
import { parseArgs } from "node:util";
import { soak } from "./soak.js";

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "7200" },
      vms: { type: "string", default: "30" },
      clients: { type: "string", default: "20" },
      seed: { type: "string", default: "1" },
      cores: { type: "string" },
    },
  });
  const number = (name: keyof typeof values) => {
    const value = Number(values[name]);
    if (Number.isInteger(value) && value > 0) return value;
    throw new Error(`--${name} ${values[name]}: give a whole number above 0`);
  };
  const ending = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => ending.abort());
  const started = performance.now();
  const print = (line: string) =>
    console.log(`${((performance.now() - started) / 1000).toFixed(0).padStart(5)} s  ${line}`);
  const { findings, tally } = await soak({
    seconds: number("seconds"),
    vms: number("vms"),
    clients: number("clients"),
    seed: number("seed"),
    ...(values.cores === undefined ? {} : { cores: number("cores") }),
    signal: ending.signal,
    print,
  });
  for (const line of tally.lines()) console.log(line);
  const failed = findings.filter(({ pass }) => !pass).length;
  console.log(
    failed === 0
      ? `all ${findings.length} requirements are met`
      : `${failed} of ${findings.length} are not met`,
  );
  if (failed > 0) process.exitCode = 1;
}

main().catch((error: Error) => {
  console.error(`soak: ${error.message}`);
  process.exitCode = 1;
});
