// Prints how fast the guide's CPU runs the guide's loop in each tier: millions of guest instructions a second of CPU
// time, once everything hot is translated. The packages must have been built (`npm run build`).
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { blocksOf, GUIDE, programOf } from "./guide.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { build } = createRequire(createRequire(join(root, "package.json")).resolve("vite"))("esbuild");
const MILLION = 1e6;
const WARM_UP = 50 * MILLION;
const MILLISECONDS = 1000;

/** The guide up to the function that makes a computer, without what it prints. */
const blocks = blocksOf(GUIDE);
const made = blocks.findIndex(({ code }) => code.includes("function computer("));
const contents = `${programOf(blocks.slice(0, made + 1))}export { computer, squares };\n`;
const alias = Object.fromEntries(
  ["decoder", "jit"].map((name) => [`@hyperfile/${name}`, join(root, "packages", name, "dist/index.js")]),
);
const { outputFiles } = await build({
  stdin: { contents, loader: "ts", resolveDir: root },
  ...{ bundle: true, write: false, format: "esm", platform: "neutral", alias },
});
const { log } = console;
console.log = () => {};
const { computer, squares } = await import(
  `data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`
);
console.log = log;

const endless = squares.replace("halt", "li r2, 0\n jal r9, loop");
for (const tier of ["interpreter", "js", "wasm-interpreter", "wasm"]) {
  const cpu = computer(endless, { tier });
  cpu.run(WARM_UP);
  const before = cpu.elapsed;
  const start = process.cpuUsage();
  const used = () => {
    const { user, system } = process.cpuUsage(start);
    return (user + system) / MILLISECONDS;
  };
  while (used() < MILLISECONDS) cpu.run(MILLION);
  console.log(
    `${tier.padEnd(16)} ${((cpu.elapsed - before) / used() / MILLISECONDS).toFixed(0).padStart(5)} MIPS`,
  );
}
