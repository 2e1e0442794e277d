/** Two guests under different shares: prints what each got, while the shares are changed and one of them is paused. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { DaemonClient } from "@hyperfile/broker/node";
import { chooseKernel, numberOption, type OwnDaemon, withOwnDaemon } from "@hyperfile/example-fleet";

const names = ["left", "right"] as const;
const DEFAULT_SECONDS = 5;
/** Milliseconds in which a guest that computes uses CPU time, and pays back what it got before the limit was reached. */
const SETTLE_MS = 1500;
/** Commands that compute in the background, for minutes at least, and give the prompt back. */
const endless = {
  debian: "sh -c 'while :; do :; done' >/dev/null & true",
  embedded: `${"burn 4000 & ".repeat(8)}echo begun`,
} as const;

interface Figures {
  readonly shares: number;
  /** Seconds of CPU time since the VM's start. */
  readonly used: number;
  /** Seconds in which it could have run and had no core. */
  readonly ready: number;
  readonly isPaused: boolean;
}

async function figuresOf(client: DaemonClient): Promise<Figures[]> {
  const vms = await Promise.all(names.map((name) => client.vm(name)));
  return vms.map(({ cpu, accounts, state }) => ({
    shares: cpu.shares,
    used: accounts?.used ?? 0,
    ready: (accounts?.ready ?? 0) + (accounts?.preempted ?? 0),
    isPaused: state === "paused",
  }));
}

/** Lets the guests compute for a time and prints each one's part of what both got. */
async function measure({ client }: OwnDaemon, title: string, seconds: number): Promise<void> {
  const before = await figuresOf(client);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const after = await figuresOf(client);
  const used = after.map((figures, at) => figures.used - before[at]!.used);
  const usedByBoth = used.reduce((sum, one) => sum + one, 0);
  const shares = after.reduce((sum, one) => sum + (one.isPaused ? 0 : one.shares), 0);
  console.log(`\n${title}`);
  console.log("VM     SHARES  ENTITLED     GOT  CPU TIME  WAITED FOR THE CORE");
  for (const [at, name] of names.entries()) {
    const figures = after[at]!;
    const cells = [
      name.padEnd(5),
      String(figures.shares).padStart(7),
      percent(figures.isPaused ? 0 : figures.shares / shares).padStart(9),
      percent(used[at]! / usedByBoth).padStart(7),
      `${used[at]!.toFixed(2)} s`.padStart(9),
      `${(figures.ready - before[at]!.ready).toFixed(2)} s`.padStart(20),
    ];
    console.log(cells.join(" "));
  }
}

const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;

async function main(args: readonly string[]): Promise<void> {
  const seconds = numberOption(args, "--seconds", DEFAULT_SECONDS);
  const kernel = chooseKernel(args.includes("--embedded"), (text) => console.error(text));
  const path = fileURLToPath(new URL("../Hyperfile", import.meta.url));
  const text = (await readFile(path, "utf8")).replaceAll("kernel: debian", `kernel: ${kernel}`);
  await withOwnDaemon(text, async (daemon) => {
    for (const name of names) await daemon.hyperfile("exec", name, endless[kernel]);
    const idle = (await figuresOf(daemon.client)).map(({ used }) => used);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    for (const [at, { used }] of (await figuresOf(daemon.client)).entries())
      if (used <= idle[at]!) throw new Error(`the guest ${names[at]} does not compute: see its console`);
    console.log(`Two ${kernel} guests on one core, both computing.`);
    await measure(daemon, "Shares as in the Hyperfile:", seconds);
    await daemon.hyperfile("set", "left", "cpu.shares=1000");
    await measure(daemon, "After hyperfile set left cpu.shares=1000:", seconds);
    await daemon.hyperfile("pause", "left");
    await measure(daemon, "After hyperfile pause left:", seconds);
  });
}

main(process.argv.slice(2)).catch((error: Error) => {
  console.error(`side-by-side: ${error.message}`);
  process.exitCode = 1;
});
