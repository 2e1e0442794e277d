// Takes decoder, translator, devices, machine and broker as a stranger would get them: packed, installed from the tarballs into a clean
// folder outside the workspace, and there
// - the programs of the guide and of the READMEs pass the strict type checker, with both ways of resolving modules;
// - they run in Node, and print what the documents say: in this one, and in those of `--node PATH...`;
// - bundled for a browser they ask for no module of Node's, and print the same in a context that has only what browsers
//   have, with the tier `wasm` also where `eval` is forbidden;
// - a machine with a device of a user's own on the board is saved to a file by one process and finished by another, and
//   cloned;
// - Debian boots from the lines of the machine's README to its shell, where its files are in the user's cache;
// - bundles of what a user may want are measured, and hold nothing of a CPU that is not in them.
// Nothing is fetched: the dependencies come from the workspace. The packages must have been built (`npm run build`).
import { execFile, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { createContext, runInContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { blocksOf, GUIDE, outputsOf, programOf, readmes } from "./guide.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const fromRoot = createRequire(join(root, "package.json"));
const packages = ["decoder", "jit", "devices", "machine", "broker"];
const npm = process.platform === "win32" ? "npm.cmd" : "npm";
/** Names that stand in the tables and the hart of RISC-V only. */
const riscvNames = /amoadd|sfence|mstatus|medeleg/;

/** What is measured: by name the imports of a program, and whether RISC-V belongs to it. */
const bundles = {
  "a front end from rows, with assembler": {
    imports: { "@hyperfile/decoder": ["assembleRows", "insnRow", "rowFrontEnd"] },
  },
  "a CPU from rows, in every tier": {
    imports: {
      "@hyperfile/decoder": ["assembleRows", "insnRow", "rowFrontEnd"],
      "@hyperfile/jit": ["FlatCpu"],
    },
  },
  "a disassembler of RISC-V": {
    imports: { "@hyperfile/decoder": ["disassemble", "riscvTable"] },
    riscv: true,
  },
  "a RISC-V CPU, in every tier": {
    imports: { "@hyperfile/jit/riscv": ["RiscvCpu", "riscvMemory"] },
    riscv: true,
  },
  "a RISC-V machine": { imports: { "@hyperfile/machine": ["riscvVirt"] }, riscv: true },
};

/** What the check of types is told of Node: the packages need none of its types. */
const PROCESS = `declare const process: {
  readonly stdin: { setRawMode?(on: boolean): void; on(event: "data", listener: (typed: Uint8Array) => void): void };
  readonly stdout: { write(bytes: Uint8Array): void };
  exit(): void;
};`;
/** Most time for Debian's boot, on a computer that has much else to do. */
const BOOT_MILLISECONDS = 300_000;
/** A program that uses the tier `wasm` only. */
const WITHOUT_EVAL = "packages/jit/README.md";

/** Runs a command in `cwd`; its output. */
async function run(command, args, cwd) {
  try {
    return (await promisify(execFile)(command, args, { cwd })).stdout;
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")} failed:\n${error.stdout ?? ""}${error.stderr ?? ""}`);
  }
}

const manifestOf = (source) => JSON.parse(readFileSync(join(source, "package.json"), "utf8"));

/** Folders of what a package needs from elsewhere, and of what that needs in turn, each once. */
function dependenciesOf(source, found = new Set()) {
  for (const name of Object.keys(manifestOf(source).dependencies ?? {})) {
    if (name.startsWith("@hyperfile/")) continue;
    let folder = source;
    while (!existsSync(join(folder, "node_modules", name)) && folder !== dirname(folder))
      folder = dirname(folder);
    const other = realpathSync(join(folder, "node_modules", name));
    if (found.has(other)) continue;
    found.add(other);
    dependenciesOf(other, found);
  }
  return found;
}

/** The tarball of a package, made by `npm pack` from a copy without scripts, since the package is built. */
async function pack(source, folder) {
  const { scripts: _, ...manifest } = manifestOf(source);
  const isOurs = manifest.name.startsWith("@hyperfile/");
  if (isOurs && !existsSync(join(source, manifest.exports["."].types)))
    throw new Error(`${manifest.name} is not built: run npm run build`);
  const copy = join(folder, "copies", basename(source));
  mkdirSync(copy, { recursive: true });
  // Lists of others have patterns in them: theirs was packed once, and all of it belongs there.
  const files = isOurs ? ["README.md", "LICENSE", ...manifest.files] : readdirSync(source);
  for (const file of files.filter((file) => file !== "node_modules" && existsSync(join(source, file))))
    cpSync(join(source, file), join(copy, file), { recursive: true });
  writeFileSync(join(copy, "package.json"), JSON.stringify(manifest));
  const [{ filename }] = JSON.parse(await run(npm, ["pack", "--json", "--pack-destination", folder], copy));
  return join(folder, filename);
}

/** A clean folder in which the packages are installed from their tarballs. */
async function install(folder) {
  const own = packages.map((name) => join(root, "packages", name));
  const others = new Set(own.flatMap((source) => [...dependenciesOf(source)]));
  const sources = [...own, ...others];
  const tarballs = await Promise.all(sources.map((source) => pack(source, folder)));
  const clean = join(folder, "clean");
  mkdirSync(clean);
  writeFileSync(
    join(clean, "package.json"),
    JSON.stringify({ name: "clean", private: true, type: "module" }),
  );
  const quiet = [
    "--offline",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--cache",
    join(folder, "cache"),
  ];
  await run(npm, ["install", ...quiet, ...tarballs], clean);
  return { clean, tarballs };
}

/** Checks the types of programs and of the packages as they stand; leaves the programs compiled. */
async function checkTypes(clean, files) {
  const tsc = fromRoot.resolve("typescript/bin/tsc");
  for (const [module, moduleResolution] of [
    ["esnext", "bundler"],
    ["node16", "node16"],
  ]) {
    const compilerOptions = {
      ...{ module, moduleResolution, target: "es2022", lib: ["es2022", "dom"], types: [] },
      ...{ strict: true, exactOptionalPropertyTypes: true, skipDefaultLibCheck: true },
    };
    writeFileSync(join(clean, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
    await run(process.execPath, [tsc, "--project", "."], clean);
  }
}

/** A bundle for browsers, minified: one script, or a module, which may wait. */
async function bundle(clean, name, contents, format = "iife") {
  const { build } = createRequire(fromRoot.resolve("vite"))("esbuild");
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: clean, sourcefile: `${name}.js`, loader: "js" },
    ...{ bundle: true, minify: true, write: false, logLevel: "silent" },
    ...{ format, platform: "browser", target: "es2022" },
  });
  const code = outputFiles[0].text;
  if (/["'`]node:/.test(code)) throw new Error(`the bundle of ${name} imports a module of Node's`);
  return code;
}

const importsOf = (imports) =>
  Object.entries(imports)
    .map(
      ([from, names]) =>
        `import { ${names.join(", ")} } from "${from}";\nconsole.log(${names.join(", ")});\n`,
    )
    .join("");

const sizeOf = (code) => ({
  minified: Buffer.byteLength(code),
  gzip: gzipSync(code, { level: 9 }).length,
});

/**
 * What a bundled module without imports prints in a context that has only what browsers and workers have, and allows
 * `eval` or does not.
 */
async function runAsBrowser(code, strings = true) {
  const lines = [];
  const console = { log: (...values) => lines.push(`${values.map(String).join(" ")}\n`) };
  const codeGeneration = { strings, wasm: true };
  const globals = {
    ...{ console, performance, queueMicrotask, TextEncoder, TextDecoder, crypto },
    ...{ setTimeout, clearTimeout, MessageChannel },
  };
  const context = createContext(globals, { codeGeneration });
  runInContext("globalThis.self = globalThis;", context);
  await runInContext(`(async () => {${code}\n})()`, context);
  return lines.join("");
}

function expectOutputs({ document, blocks }, printed, where) {
  const outputs = outputsOf(printed);
  blocks.forEach(({ output }, index) => {
    if (outputs[index] !== output)
      throw new Error(
        `${document}, block ${index + 1}, prints ${where}\n${outputs[index]}\nand says\n${output}`,
      );
  });
}

/** A device of a user's own, in a machine that is saved, restored in another process, and cloned. */
async function checkOwnDevice(clean, folder, node) {
  const program = join(clean, "own-device.mjs");
  cpSync(join(root, "examples/own-cpu/own-device.mjs"), program);
  const file = join(folder, "own-device.snapshot");
  const runIt = (command) => run(node, [program, command, file], clean);
  const printed = `${await runIt("save")}${await runIt("restore")}`;
  const done = Number(/^original stopped instructions (\d+)$/m.exec(printed)?.[1]);
  const rest = `off 2001 ${2000 - done}\n`;
  if (!(done > 1000) || printed !== `original stopped instructions ${done}\nclone ${rest}restored ${rest}`)
    throw new Error(`the device of a user's own did not survive:\n${printed}`);
}

/** Checks the types of the lines of the machine's README that boot Debian, and leaves them compiled. */
async function checkDebianTypes(clean) {
  const readme = readFileSync(join(root, "packages/machine/README.md"), "utf8");
  const [, code] = /## Debian\n\n```js\n([\s\S]*?)```/.exec(readme);
  writeFileSync(join(clean, "debian.ts"), `${PROCESS}\n${code}`);
  await checkTypes(clean, ["debian.ts"]);
}

/** Boots Debian by those lines to its shell; whether its files are in the cache. */
async function checkDebian(clean, node) {
  const { readPrepared, userCacheFolder } = await import(
    pathToFileURL(join(clean, "node_modules/@hyperfile/machine/dist/debian.js"))
  );
  if ((await readPrepared(join(userCacheFolder(), "debian-trixie-riscv64"), () => false)) === undefined)
    return false;
  const child = spawn(node, [join(clean, "debian.js")], {
    stdio: ["pipe", "pipe", "inherit"],
    timeout: BOOT_MILLISECONDS,
  });
  let printed = "";
  let isAsked = false;
  child.stdout.setEncoding("utf8").on("data", (text) => {
    printed += text;
    if (isAsked || !printed.includes(":~# ")) return;
    isAsked = true;
    child.stdin.write("uname -m; exit\n");
  });
  const status = await new Promise((resolve) => child.on("close", resolve));
  if (status !== 0 || !/^riscv64\r?$/m.test(printed))
    throw new Error(`Debian ended with status ${status}:\n${printed}`);
  return true;
}

/** Runs what is installed in one Node. */
async function checkNode(node, { clean, folder, programs, report }) {
  const version = (await run(node, ["--version"], clean)).trim();
  for (const program of programs)
    expectOutputs(program, await run(node, [join(clean, `${program.name}.js`)], clean), `in Node ${version}`);
  report(`\nNode ${version}: ${programs.length} documents print what they say`);
  await checkOwnDevice(clean, folder, node);
  report(
    `Node ${version}: a device of one's own is saved to a file, finished by another process, and cloned`,
  );
  const booted = await checkDebian(clean, node);
  report(
    `Node ${version}: Debian in ten lines ${booted ? "boots to its shell" : "has types only, since it is not in the cache"}`,
  );
}

/**
 * Does it all; throws an Error that says what did not work.
 * @param nodes paths of the Nodes that run what is installed
 * @returns bytes of tarballs and bundles, by name
 */
export async function packCheck(report = () => {}, nodes = [process.execPath]) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "hyperfile-pack-")));
  try {
    const { clean, tarballs } = await install(folder);
    const sizes = { tarballs: {}, bundles: {} };
    for (const file of tarballs) sizes.tarballs[basename(file)] = readFileSync(file).length;
    report("tarballs, installed                           bytes");
    for (const [name, bytes] of Object.entries(sizes.tarballs))
      report(`${name.padEnd(40)} ${String(bytes).padStart(10)}`);

    const programs = [GUIDE, ...readmes].map((document) => {
      const blocks = blocksOf(document);
      const name = document.replaceAll(/\W/g, "-");
      writeFileSync(join(clean, `${name}.ts`), programOf(blocks));
      return { document, blocks, name };
    });
    await checkTypes(
      clean,
      programs.map(({ name }) => `${name}.ts`),
    );
    await checkDebianTypes(clean);
    report("\ntypes resolve: strict, with the packages' own, moduleResolution bundler and node16");

    for (const node of nodes) await checkNode(node, { clean, folder, programs, report });
    report("");
    for (const program of programs) {
      const { document, name } = program;
      const source = readFileSync(join(clean, `${name}.js`), "utf8");
      const code = await bundle(clean, document, source, "esm");
      expectOutputs(program, await runAsBrowser(code), "bundled for a browser");
      if (document === WITHOUT_EVAL)
        expectOutputs(program, await runAsBrowser(code, false), "where a page may not use eval");
      if (document === GUIDE) sizes.bundles["the guide's program"] = sizeOf(code);
      report(`${document}: prints what it says bundled for a browser`);
    }

    for (const [name, { imports, riscv = false }] of Object.entries(bundles)) {
      const code = await bundle(clean, name, importsOf(imports));
      if (riscvNames.test(code) !== riscv) throw new Error(`the bundle of ${name} has RISC-V in it`);
      sizes.bundles[name] = sizeOf(code);
    }
    report("\nbundles, tree-shaken                       minified      gzip");
    for (const [name, { minified, gzip }] of Object.entries(sizes.bundles))
      report(`${name.padEnd(40)} ${String(minified).padStart(10)} ${String(gzip).padStart(9)}`);
    return sizes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [option, ...nodes] = process.argv.slice(2);
  if (option !== undefined && (option !== "--node" || nodes.length === 0)) {
    console.error("usage: node examples/own-cpu/pack-check.mjs [--node PATH...]");
    process.exit(2);
  }
  const missing = nodes.find((node) => !existsSync(node));
  if (missing !== undefined) {
    console.error(`there is no ${missing}: give paths of the programs node after --node`);
    process.exit(2);
  }
  await packCheck((line) => console.log(line), [process.execPath, ...nodes]);
}
