// Documents as programs: their blocks of TypeScript, each with what it prints below it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../..", import.meta.url);
/** The guide to a CPU of one's own. */
export const GUIDE = "docs/guide/own-cpu.md";
/** The first programs of the packages. */
export const readmes = ["decoder", "jit", "devices", "machine", "broker"].map(
  (name) => `packages/${name}/README.md`,
);
const fileOf = (document) => fileURLToPath(new URL(document, root));
const block = /```ts\n([\s\S]*?)```\n\n```text\n([\s\S]*?)```/g;
/** What the program prints after each block. */
const MARK = "\u0001";

/** A document's blocks: code, and what it says that they print. */
export const blocksOf = (document) =>
  [...readFileSync(fileOf(document), "utf8").matchAll(block)].map(([, code, output]) => ({ code, output }));

/**
 * All blocks as one TypeScript module, which tells by a mark where the output of each ends. A block may import again what
 * one before it has imported.
 */
export function programOf(blocks) {
  const imported = new Set();
  const isNew = (line) => !/^import /.test(line) || (!imported.has(line) && imported.add(line));
  return blocks
    .map(({ code }) => `${code.split("\n").filter(isNew).join("\n")}console.log(${JSON.stringify(MARK)});\n`)
    .join("\n");
}

/** What the program printed, by block. */
export const outputsOf = (printed) => printed.split(`${MARK}\n`).slice(0, -1);

/** Files and experiments that a document names as what holds its promises, each once. */
export function proofsIn(document) {
  const text = readFileSync(fileOf(document), "utf8");
  const files = [...text.matchAll(/`([\w./-]+\.test\.ts)`/g)].map(([, path]) => path);
  const experiments = [...text.matchAll(/`bench\s+([a-z-]+)[a-zA-Z\s]*`/g)].map(
    ([, name]) => `packages/broker/bench/${name}.ts`,
  );
  return [...new Set([...files, ...experiments])].map((path) => ({ path, exists: existsSync(fileOf(path)) }));
}

/** Writes what the blocks printed into the document. */
export function bless(document, outputs) {
  let next = 0;
  const text = readFileSync(fileOf(document), "utf8").replace(
    block,
    (_, code) => `\`\`\`ts\n${code}\`\`\`\n\n\`\`\`text\n${outputs[next++]}\`\`\``,
  );
  writeFileSync(fileOf(document), text);
}
