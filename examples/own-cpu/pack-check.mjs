// Takes the decoder and the translator as a stranger would get them: packed, installed from the tarballs into a clean
// folder outside the workspace, and there
// - the guide's program passes the strict type checker, with both ways of resolving modules;
// - it runs in Node, and prints what the guide says;
// - bundled for a browser it asks for no module of Node's, and prints the same in a context that has only what
//   browsers have;
// - bundles of what a user may want are measured.
// Nothing is fetched: the dependencies come from the workspace. The packages must have been built (`npm run build`).
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { guideBlocks, guideProgram, outputsOf } from "./guide.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const fromRoot = createRequire(join(root, "package.json"));
const packages = ["decoder", "jit"];
const npm = process.platform === "win32" ? "npm.cmd" : "npm";

/** What is measured: the source of an entry point, by name. */
const entries = {
  "the disassembler of RISC-V":
    'import { disassemble, riscvTable } from "@hyperfile/decoder";\nconsole.log(disassemble(riscvTable(64), 0x00b50533, 4));\n',
  "a front end from rows, with assembler":
    'import { assembleRows, insnRow, rowFrontEnd } from "@hyperfile/decoder";\nconsole.log(assembleRows, insnRow, rowFrontEnd);\n',
  "the guide's program": "",
  "the same CPU, without explain":
    'import { assembleRows, insnRow, rowFrontEnd } from "@hyperfile/decoder";\nimport { FlatCpu } from "@hyperfile/jit";\nconsole.log(assembleRows, insnRow, rowFrontEnd, FlatCpu);\n',
  "the whole RISC-V CPU":
    'import { RiscvCpu, riscvMemory } from "@hyperfile/jit";\nconsole.log(RiscvCpu, riscvMemory);\n',
};

/** Runs a command in `cwd`; its output. */
function run(command, args, cwd) {
  try {
    return execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    throw new Error(`${command} ${args.join(" ")} failed:\n${error.stdout ?? ""}${error.stderr ?? ""}`);
  }
}

/**
 * The tarball of a package, made by `npm pack` from a copy: without scripts, since the package is built, and with
 * versions in the place of `workspace:`, as `pnpm pack` writes them.
 */
function pack(source, folder) {
  const manifest = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));
  for (const [dependency, version] of Object.entries(manifest.dependencies ?? {})) {
    if (!version.startsWith("workspace:")) continue;
    const other = join(root, "packages", dependency.split("/")[1], "package.json");
    manifest.dependencies[dependency] = JSON.parse(readFileSync(other, "utf8")).version;
  }
  const { scripts: _, ...published } = manifest;
  const copy = join(folder, "copies", basename(source));
  mkdirSync(copy, { recursive: true });
  for (const file of ["README.md", "LICENSE", ...(manifest.files ?? ["dist"])])
    cpSync(join(source, file), join(copy, file), { recursive: true });
  writeFileSync(join(copy, "package.json"), JSON.stringify(published));
  const [{ filename }] = JSON.parse(run(npm, ["pack", "--json", "--pack-destination", folder], copy));
  return join(folder, filename);
}

/** A clean folder in which the packages are installed from their tarballs. */
function install(folder) {
  const acorn = realpathSync(join(root, "packages/jit/node_modules/acorn"));
  const sources = [...packages.map((name) => join(root, "packages", name)), acorn];
  const tarballs = sources.map((source) => pack(source, folder));
  const clean = join(folder, "clean");
  mkdirSync(clean);
  writeFileSync(
    join(clean, "package.json"),
    JSON.stringify({ name: "clean", private: true, type: "module" }),
  );
  run(npm, ["install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", ...tarballs], clean);
  return { clean, tarballs };
}

/** Checks the types of the program as it stands, libraries included; leaves `program.js`. */
function checkTypes(clean) {
  const tsc = fromRoot.resolve("typescript/bin/tsc");
  for (const [module, moduleResolution] of [
    ["esnext", "bundler"],
    ["nodenext", "nodenext"],
  ]) {
    const options = { module, moduleResolution, target: "es2022", lib: ["es2022", "dom"], types: [] };
    const compilerOptions = { ...options, strict: true, exactOptionalPropertyTypes: true };
    writeFileSync(join(clean, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    run(process.execPath, [tsc, "--project", "."], clean);
  }
}

/** A bundle for browsers, minified: its one file. */
async function bundle(clean, name, source) {
  const { build } = await import(fromRoot.resolve("vite"));
  const entry = join(clean, `${name.replaceAll(/\W+/g, "-")}.js`);
  writeFileSync(entry, source);
  const built = await build({
    root: clean,
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      target: "es2022",
      lib: { entry, formats: ["iife"], name: "program", fileName: "program" },
      rollupOptions: {
        onwarn: ({ message }) => {
          throw new Error(`bundling ${name}: ${message}`);
        },
      },
    },
  });
  const [{ output }] = [built].flat();
  if (output.length !== 1) throw new Error(`bundling ${name}: ${output.length} files`);
  return output[0].code;
}

/** What a bundle prints in a context that has only what browsers and workers have. */
function runAsBrowser(code) {
  const lines = [];
  const console = { log: (...values) => lines.push(`${values.map(String).join(" ")}\n`) };
  const context = createContext({ console, performance, queueMicrotask, TextEncoder, TextDecoder });
  runInContext("globalThis.self = globalThis;", context);
  runInContext(code, context);
  return lines.join("");
}

function expectGuide(printed, blocks, where) {
  const outputs = outputsOf(printed);
  blocks.forEach(({ output }, index) => {
    if (outputs[index] !== output)
      throw new Error(
        `${where}, block ${index + 1} prints\n${outputs[index]}\nand the guide says\n${output}`,
      );
  });
}

/**
 * Does it all.
 * @returns bytes of tarballs and bundles
 */
export async function packCheck(report = () => {}) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "hyperfile-pack-")));
  try {
    const { clean, tarballs } = install(folder);
    const sizes = { tarballs: {}, bundles: {} };
    tarballs.forEach((file) => {
      sizes.tarballs[file.slice(folder.length + 1)] = readFileSync(file).length;
    });
    report(
      `packed and installed: ${Object.entries(sizes.tarballs)
        .map(([name, bytes]) => `${name} (${bytes} bytes)`)
        .join(", ")}`,
    );

    const blocks = guideBlocks();
    writeFileSync(join(clean, "program.ts"), guideProgram(blocks));
    checkTypes(clean);
    report("types resolve: strict, libraries checked, moduleResolution bundler and nodenext");

    const program = readFileSync(join(clean, "program.js"), "utf8");
    expectGuide(run(process.execPath, ["program.js"], clean), blocks, "in Node");
    report(`the guide's program prints what the guide says in Node ${process.versions.node}`);

    for (const [name, source] of Object.entries(entries)) {
      const code = await bundle(clean, name, source === "" ? program : source);
      if (/["'`]node:/.test(code)) throw new Error(`the bundle of ${name} imports a module of Node's`);
      if (source === "") expectGuide(runAsBrowser(code), blocks, "bundled for a browser");
      const bytes = Buffer.from(code);
      sizes.bundles[name] = { minified: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
    }
    report("bundled for a browser it has no module of Node's, and prints the same with a browser's globals");
    report("\nbundle, tree-shaken                       minified      gzip");
    for (const [name, { minified, gzip }] of Object.entries(sizes.bundles))
      report(`${name.padEnd(40)} ${String(minified).padStart(9)} ${String(gzip).padStart(9)}`);
    return sizes;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await packCheck((line) => console.log(line));
