// Installs the workspace's dependencies and builds every package, with nothing but Node and npm on the machine.
// A stamp over the lock file and the sources makes a repeated call cost milliseconds.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL(".", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const cache = join(root, "node_modules", ".cache", "hyperfile");
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`hyperfile: Node ${process.versions.node} is too old: install Node 20.19 or newer`);
  process.exit(1);
}

function stampOf(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(file).update(readFileSync(join(root, file)));
  return hash.digest("hex");
}

function sourceFiles(folder, found = []) {
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    if (entry.name === "node_modules" || entry.name === "dist") continue;
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) sourceFiles(path, found);
    else if (/\.(ts|json|mjs|html|css|svg)$/.test(entry.name)) found.push(path);
  }
  return found.sort();
}

/** Runs a command; gives its status, or why there is none, and its output, each line of which `hear` gets as well. */
function run(command, args, hear) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      let line = "";
      stream.setEncoding("utf8").on("data", (text) => {
        output += text;
        const lines = (line + text).split("\n");
        line = lines.pop();
        for (const whole of lines) hear(whole);
      });
    }
    child.on("error", (error) => resolve({ problem: error.message, output }));
    child.on("close", (status, signal) =>
      resolve({ problem: status === 0 ? undefined : (signal ?? `status ${status}`), output }),
    );
  });
}

async function step(name, title, files, isPresent, command, args, hear = () => {}) {
  const stampFile = join(cache, name);
  const stamp = stampOf(files);
  if (isPresent() && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  process.stderr.write(`hyperfile: ${title} ...\n`);
  const started = Date.now();
  const { problem, output } = await run(command, args, hear);
  if (problem !== undefined) {
    process.stderr.write(output);
    console.error(`hyperfile: ${title} failed (${problem}); see the lines above`);
    process.exit(1);
  }
  mkdirSync(cache, { recursive: true });
  writeFileSync(stampFile, stamp);
  process.stderr.write(`hyperfile: ${title} done in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
}

const npx = process.platform === "win32" ? "npx.cmd" : "npx";
const pnpm = ["--yes", `--package=${manifest.packageManager}`, "pnpm"];
const workspaces = ["packages", "examples"].flatMap((group) =>
  readdirSync(join(root, group))
    .map((name) => `${group}/${name}`)
    .filter((folder) => existsSync(join(root, folder, "package.json"))),
);
const manifests = [
  "package.json",
  "pnpm-workspace.yaml",
  ...workspaces.map((folder) => `${folder}/package.json`),
];
const hasBuild = (folder) =>
  JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")).scripts?.build !== undefined;

await step(
  "install",
  "installing dependencies",
  existsSync(join(root, "pnpm-lock.yaml")) ? [...manifests, "pnpm-lock.yaml"] : manifests,
  () => existsSync(join(root, "node_modules", ".modules.yaml")),
  npx,
  [...pnpm, "install", ...(existsSync(join(root, "pnpm-lock.yaml")) ? ["--frozen-lockfile"] : [])],
);
const built = workspaces.filter(hasBuild);
let done = 0;
await step(
  "build",
  "building the packages",
  ["tsconfig.json", ...workspaces.flatMap((folder) => sourceFiles(folder))].filter((file) =>
    statSync(join(root, file)).isFile(),
  ),
  () => built.every((folder) => existsSync(join(root, folder, "dist"))),
  npx,
  [...pnpm, "-r", "run", "build"],
  (line) => {
    // As pnpm says that a workspace's script has ended.
    const [, folder] = /^(\S+) build: Done$/.exec(line) ?? [];
    if (folder !== undefined)
      process.stderr.write(`hyperfile:   ${folder} is built (${++done} of ${built.length})\n`);
  },
);
