// The guide to a CPU of one's own as a program: its blocks of TypeScript, each with what it prints below it.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const path = fileURLToPath(new URL("../../docs/guide/own-cpu.md", import.meta.url));
const block = /```ts\n([\s\S]*?)```\n\n```text\n([\s\S]*?)```/g;
/** What the program prints after each block. */
const MARK = "\u0001";

/** The guide's blocks: code, and what it says that they print. */
export const guideBlocks = () =>
  [...readFileSync(path, "utf8").matchAll(block)].map(([, code, output]) => ({ code, output }));

/** All blocks as one TypeScript module, which tells by a mark where the output of each ends. */
export const guideProgram = (blocks) =>
  blocks.map(({ code }) => `${code}console.log(${JSON.stringify(MARK)});\n`).join("\n");

/** What the program printed, by block. */
export const outputsOf = (printed) => printed.split(`${MARK}\n`).slice(0, -1);

/** Writes what the blocks printed into the guide. */
export function bless(outputs) {
  let next = 0;
  const text = readFileSync(path, "utf8").replace(
    block,
    (_, code) => `\`\`\`ts\n${code}\`\`\`\n\n\`\`\`text\n${outputs[next++]}\`\`\``,
  );
  writeFileSync(path, text);
}
