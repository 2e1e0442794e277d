// Checks the direction of dependencies: who may import whom, that only files for Node import node modules, that
// nothing outside the folders of an architecture is named after it, and that the broker names no guest.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL(".", import.meta.url));
/** For each folder, what its files may import: packages by name, folders of the same package by path. */
const allowedPackages = {
  decoder: [],
  jit: ["@hyperfile/decoder", "acorn"],
  devices: ["@bokuweb/zstd-wasm"],
  broker: ["ajv", "ws", "yaml"],
  machine: [
    "@hyperfile/devices",
    "@hyperfile/jit",
    "@xterm/addon-fit",
    "@xterm/xterm",
    "tar-stream",
    "xz-decompress",
  ],
};
/** Folders that may not import from other folders of their package. */
const closedFolders = ["packages/decoder/src/ir"];
/** Files outside `arch/` may not import from inside it, but for the package's index. */
const archFolder = "packages/jit/src/arch";
/** Packages in which only folders called riscv may know of RISC-V; indexes name what they export. */
const neutralPackages = ["decoder", "jit", "broker"];
/** Words of one architecture, in identifiers or comments. */
const riscvWords =
  /risc-?v|\brv(32|64)|satp|[ms]status|[hs]fence|\bcsrs?\b|csrr|[ms](tvec|epc|cause|tval|ideleg|edeleg)\b|\bsbi\b|\bpmp\b|\bsv(32|39|48|57)|zicsr|\becall|\bebreak|\bfence\.i|\b[ms]ret\b|\bf(csr|rm|flags)\b|\b(lr|sc)\.[wd]\b|\bxlen|\baddi?w\b/i;
/** Guests of particular programs, of which the broker knows none. */
const guestWords = /\b(debian|embedded|posix)\b/i;
/** A rule of arithmetic may name the standard that it is taken from. */
const citation = /RISC-V (un)?privileged/g;

/** The package that a specifier names, without the subpath. */
const packageOf = (specifier) => specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

/** Problems of a file with words that belong to an architecture. */
function namedAfterArchitecture(file, text) {
  if (/\/riscv\/|\/index\.ts$/.test(file)) return [];
  const joined = text.replace(/\n\s*\*\s+/g, " ").replace(citation, "");
  const word = riscvWords.exec(joined)?.[0];
  return word === undefined ? [] : [`${file} speaks of ${word}: only riscv/ may`];
}

function sources(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return sources(path);
    return path.endsWith(".ts") && !path.endsWith(".test.ts") ? [path] : [];
  });
}

const problems = [];
const graph = new Map();
for (const [name, allowed] of Object.entries(allowedPackages)) {
  for (const file of sources(`packages/${name}/src`)) {
    const text = readFileSync(join(root, file), "utf8");
    if (neutralPackages.includes(name)) problems.push(...namedAfterArchitecture(file, text));
    const guest = name === "broker" ? guestWords.exec(text)?.[0] : undefined;
    if (guest !== undefined)
      problems.push(`${file} speaks of ${guest}: only programs know particular guests`);
    const imports = [
      ...text.matchAll(
        /^(?:import|export)\s+(?:type\s+)?(?:[\w*]+(?:\s+as\s+\w+)?|\{[^}]*\})\s+from\s+"([^"]+)"/gm,
      ),
    ].map((match) => match[1]);
    const local = [];
    for (const specifier of imports) {
      if (specifier.startsWith("node:")) {
        if (!/(^|\/)node(\.ts$|\/)/.test(file))
          problems.push(`${file} imports ${specifier}: only node.ts and node/ may`);
      } else if (specifier.startsWith(".")) {
        local.push(normalize(join(dirname(file), specifier)).replace(/\.js$/, ".ts"));
      } else if (!allowed.includes(packageOf(specifier))) {
        problems.push(
          `${file} imports ${specifier}: ${name} may import ${allowed.join(", ") || "no package"}`,
        );
      }
    }
    for (const target of local) {
      for (const closed of closedFolders) {
        if (file.startsWith(`${closed}/`) && !target.startsWith(`${closed}/`)) {
          problems.push(`${file} imports ${target}: ${closed} imports nothing outside itself`);
        }
      }
      const fromArch = file.startsWith(archFolder) || file.endsWith("/index.ts");
      if (target.startsWith(archFolder) && !fromArch)
        problems.push(`${file} imports ${target}: only arch/ may`);
    }
    graph.set(file, local);
  }
}

/** Import cycles, each reported once. */
const state = new Map();
function visit(file, path) {
  if (state.get(file) === "done") return;
  if (state.get(file) === "open") {
    problems.push(`import cycle: ${[...path.slice(path.indexOf(file)), file].join(" -> ")}`);
    return;
  }
  state.set(file, "open");
  for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
  state.set(file, "done");
}
for (const file of graph.keys()) visit(file, []);

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(`dependency direction holds in ${graph.size} files`);
