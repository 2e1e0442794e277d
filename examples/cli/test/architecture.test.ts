/** docs/architecture.md says what is so, as far as a test can tell: its paths, its arrows and its programs. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./readme-commands.js";

const text = readFileSync(join(root, "docs/architecture.md"), "utf8");
const packages = readdirSync(join(root, "packages"));

it("names files and folders that there are", () => {
  const paths = [...text.matchAll(/`((?:packages|examples|docs)\/[^`]*)`/g)].map(([, path]) => path!);
  expect(paths.length).toBeGreaterThan(40);
  expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
});

it("says of each package what it imports", () => {
  const rows = [...text.matchAll(/^\| `packages\/(\w+)` \| ([\w, ]+) \|/gm)];
  expect(rows.map(([, name]) => name).sort()).toEqual(packages.sort());
  for (const [, name, imports] of rows) {
    const { dependencies = {} } = JSON.parse(
      readFileSync(join(root, "packages", name!, "package.json"), "utf8"),
    ) as { dependencies?: Record<string, string> };
    const ours = Object.keys(dependencies).filter((other) => other.startsWith("@hyperfile/"));
    expect(imports, name).toBe(ours.map((other) => other.split("/")[1]).join(", ") || "none");
  }
});

it("shows every program", () => {
  const picture = /```text\n([\s\S]*?)```/.exec(text)![1]!;
  const programs = readdirSync(join(root, "examples"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect(programs.filter((name) => !picture.includes(name))).toEqual([]);
});

it("is joined by an index of all decisions", () => {
  const folder = join(root, "docs/decisions");
  const files = readdirSync(folder).filter((name) => /^\d/.test(name));
  const index = readFileSync(join(folder, "README.md"), "utf8");
  const rows = [...index.matchAll(/^\| \[(\d{4})\]\((\S+)\) \| \S/gm)];
  expect(rows.map(([, , file]) => file)).toEqual(files.sort());
  expect(rows.every(([, number, file]) => file!.startsWith(`${number}-`))).toBe(true);
});
