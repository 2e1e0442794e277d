// Takes decoder, translator, devices and machine as a stranger would get them: packed, installed from the tarballs into a clean
// folder outside the workspace, and there
// - the programs of the guide and of the READMEs pass the strict type checker, with both ways of resolving modules;
// - they run in Node, and print what the documents say;
// - bundled for a browser they ask for no module of Node's, and print the same in a context that has only what browsers
//   have, with the tier `wasm` also where `eval` is forbidden;
// - bundles of what a user may want are measured, and hold nothing of a CPU that is not in them.
// Nothing is fetched: the dependencies come from the workspace. The packages must have been built (`npm run build`).
import { execFile } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createContext, runInContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { blocksOf, GUIDE, outputsOf, programOf, readmes } from "./guide.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const fromRoot = createRequire(join(root, "package.json"));
const packages = ["decoder", "jit", "devices", "machine"];
/** What they need from elsewhere, by the package that has it. */
const dependencies = { jit: "acorn", machine: "@bokuweb/zstd-wasm" };
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

/** The tarball of a package, made by `npm pack` from a copy without scripts, since the package is built. */
async function pack(source, folder) {
  const manifest = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  if (!existsSync(join(source, manifest.types ?? manifest.exports["."].types)))
    throw new Error(`${manifest.name} is not built: run npm run build`);
  const { scripts: _, ...published } = manifest;
  const copy = join(folder, "copies", basename(source));
  mkdirSync(copy, { recursive: true });
  for (const file of ["README.md", "LICENSE", ...(manifest.files ?? ["dist"])])
    if (existsSync(join(source, file))) cpSync(join(source, file), join(copy, file), { recursive: true });
  writeFileSync(join(copy, "package.json"), JSON.stringify(published));
  const [{ filename }] = JSON.parse(await run(npm, ["pack", "--json", "--pack-destination", folder], copy));
  return join(folder, filename);
}

/** A clean folder in which the packages are installed from their tarballs. */
async function install(folder) {
  const others = Object.entries(dependencies).map(([name, other]) =>
    realpathSync(join(root, "packages", name, "node_modules", other)),
  );
  const sources = [...packages.map((name) => join(root, "packages", name)), ...others];
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

/**
 * Does it all; throws an Error that says what did not work.
 * @returns bytes of tarballs and bundles, by name
 */
export async function packCheck(report = () => {}) {
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
    report("\ntypes resolve: strict, with the packages' own, moduleResolution bundler and node16");

    for (const program of programs) {
      const { document, name } = program;
      const file = join(clean, `${name}.js`);
      expectOutputs(program, await run(process.execPath, [file], clean), "in Node");
      const code = await bundle(clean, document, readFileSync(file, "utf8"), "esm");
      expectOutputs(program, await runAsBrowser(code), "bundled for a browser");
      if (document === WITHOUT_EVAL)
        expectOutputs(program, await runAsBrowser(code, false), "where a page may not use eval");
      if (document === GUIDE) sizes.bundles["the guide's program"] = sizeOf(code);
      report(`${document}: prints what it says in Node ${process.versions.node} and bundled for a browser`);
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

if (process.argv[1] === fileURLToPath(import.meta.url)) await packCheck((line) => console.log(line));
