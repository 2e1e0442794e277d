/**
 * Debian's boot to the first line of the init script: the same kernel and initramfs under our tiers and QEMU. The time
 * is that of the whole process until the line arrives, start of Node and loading of the images included, since that is
 * what a user waits for.
 */
import { existsSync } from "node:fs";
import { debianFiles, hyperfileProgram, initReachedText } from "./cli.js";
import { BenchError } from "./errors.js";
import { runChild } from "./processes.js";
import { median } from "./statistics.js";

const TIMEOUT = 600;
const MEMORY = "256M";
const COMMAND_LINE = "console=ttyS0";

/** The boots of one engine. */
export interface BootRuns {
  readonly engine: string;
  /** Seconds of each boot. */
  readonly seconds: number[];
  readonly median: number;
}

/**
 * Boots Debian `runs` times under QEMU, where it is among the references, an earlier checkout's default tier, where
 * `earlier` has its program, and each tier, in turn.
 * @throws BenchError `E_MISSING` when Debian's files are not in the cache, `E_RUN` when a boot fails
 */
export async function runBoot(
  tiers: readonly string[],
  withQemu: boolean,
  earlier: string | undefined,
  runs: number,
  progress: (text: string) => void,
): Promise<readonly BootRuns[]> {
  const { kernel, initrd } = debianFiles();
  if (!existsSync(kernel) || !existsSync(initrd))
    throw new BenchError("E_MISSING", `Debian's kernel is not at ${kernel}: run npm start once to fetch it`);
  const images = ["--kernel", kernel, "--initrd", initrd, "--append", COMMAND_LINE];
  const boots = (engine: string, program: string, tier: string) => ({
    engine,
    command: process.execPath,
    args: [program, "run", "--memory", MEMORY, "--tier", tier, "--no-tty", ...images],
  });
  const machines = [
    ...(withQemu
      ? [
          {
            engine: "qemu",
            command: "qemu-system-riscv64",
            args: [
              ...["-M", "virt", "-m", MEMORY, "-display", "none", "-serial", "stdio", "-monitor", "none"],
              ...images.map((word) => word.replace(/^--/, "-")),
            ],
          },
        ]
      : []),
    ...(earlier === undefined ? [] : [boots("before", earlier, "auto")]),
    ...tiers.map((tier) => boots(tier, hyperfileProgram(), tier)),
  ];
  const seconds = new Map<string, number[]>(machines.map(({ engine }) => [engine, []]));
  for (let run = 1; run <= runs; run++) {
    for (const { engine, command, args } of machines) {
      const boot = await runChild(command, args, { timeout: TIMEOUT, until: initReachedText });
      seconds.get(engine)!.push(boot.seconds);
      progress(`boot ${run}/${runs}, ${engine}: ${boot.seconds.toFixed(2)} s to init`);
    }
  }
  return [...seconds].map(([engine, values]) => ({ engine, seconds: values, median: median(values) }));
}
