/**
 * Thirty clones of one running guest: the original boots and is warmed up once, then each clone goes on from there
 * within milliseconds. All answer, each another question, and the memory of all is compared with that of one.
 */
import { chooseKernel, numberOption, type OwnDaemon, withOwnDaemon } from "@hyperfile/example-fleet";

const DEFAULT_CLONES = 30;
const MEBIBYTE = 2 ** 20;
const ORIGINAL = "original";

/** What is different between the kernels: what warms the guest up, and a question with an answer of its own for each number. */
const guests = {
  debian: {
    warmUp: "seq 1 200000 | sha256sum",
    question: (number: number) => `seq 1 ${1000 + number} | sha256sum`,
  },
  embedded: { warmUp: "digest 4000000", question: (number: number) => `digest ${100_000 + number}` },
} as const;

const hyperfileText = (kernel: keyof typeof guests) => `
name: clones
vms:
  ${ORIGINAL}:
    kernel: ${kernel}
    memory: ${kernel === "debian" ? "256M" : "32M"}
    provision: [ "${guests[kernel].warmUp}" ]
`;

/** Bytes of frames that all VMs have together: each one's own, and once those that they have in common. */
async function memoryOfAll({ client }: OwnDaemon): Promise<number> {
  const usages = (await client.vms()).map(({ memory }) => memory ?? { touched: 0, shared: 0 });
  const own = usages.reduce((sum, { touched, shared }) => sum + touched - shared, 0);
  return own + Math.max(...usages.map(({ shared }) => shared));
}

/** The least, the median and the most of some times. */
function spread(milliseconds: readonly number[]): string {
  const sorted = [...milliseconds].sort((one, other) => one - other);
  const shown = [sorted[0]!, sorted[sorted.length >> 1]!, sorted.at(-1)!].map((one) => one.toFixed(1));
  return `${shown[0]} to ${shown[2]} ms, median ${shown[1]} ms`;
}

async function main(args: readonly string[]): Promise<void> {
  const count = numberOption(args, "--clones", DEFAULT_CLONES);
  const kernel = chooseKernel(args.includes("--embedded"), (text) => console.error(text));
  const { question } = guests[kernel];
  const clones = Array.from({ length: count }, (_, at) => `clone-${at + 1}`);
  const booting = performance.now();
  await withOwnDaemon(hyperfileText(kernel), async (daemon) => {
    const { client } = daemon;
    console.log(
      `${ORIGINAL} (${kernel}): booted and warm after ${((performance.now() - booting) / 1000).toFixed(1)} s`,
    );
    const memoryOfOne = await memoryOfAll(daemon);

    const times: number[] = [];
    for (const name of clones) {
      const { milliseconds } = await client.clone(ORIGINAL, name);
      times.push(milliseconds);
      console.log(`${name}: made in ${milliseconds.toFixed(1)} ms`);
    }
    const memoryAtBirth = await memoryOfAll(daemon);

    const answers = await Promise.all(clones.map((name, at) => client.exec(name, question(at))));
    const memoryAfterAnswers = await memoryOfAll(daemon);
    let right = 0;
    for (const [at, { output }] of answers.entries())
      if ((await client.exec(ORIGINAL, question(at))).output === output) right++;

    const ofOne = (bytes: number) =>
      `${(bytes / MEBIBYTE).toFixed(1)} MiB, ${((100 * bytes) / memoryOfOne - 100).toFixed(1)} % more`;
    console.log(`\n${count} clones in ${spread(times)}`);
    console.log(`answers that are the original's: ${right} of ${count}`);
    console.log(`memory of the original alone:    ${(memoryOfOne / MEBIBYTE).toFixed(1)} MiB`);
    console.log(`with its clones, just made:      ${ofOne(memoryAtBirth)}`);
    console.log(`with its clones, all at work:    ${ofOne(memoryAfterAnswers)}`);
    if (right < count) process.exitCode = 1;
  });
}

main(process.argv.slice(2)).catch((error: Error) => {
  console.error(`clones: ${error.message}`);
  process.exitCode = 1;
});
