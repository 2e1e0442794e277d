/** Files of the host as copies and back, and what a guest may not do with them. */
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CopyEntry, CopyPart } from "../src/agent/index.js";
import { readFiles, writeFiles } from "../src/node.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-copy-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const at = (...names: string[]): string => join(folder, ...names);
const entry = (name: string, mode = 0o644): CopyEntry => ({
  name,
  mode,
  seconds: 1000,
  nanoseconds: 500_000_000,
  size: 0,
});
async function* parts(...list: CopyPart[]): AsyncGenerator<CopyPart> {
  yield* list;
}
const file = (name: string, content: string, mode?: number): CopyPart[] => [
  { kind: "file", ...entry(name, mode) },
  { kind: "data", bytes: new TextEncoder().encode(content) },
  { kind: "end" },
];

describe("a copy", () => {
  it("keeps contents, modes, times, links and empty folders", async () => {
    await mkdir(at("a", "empty"), { recursive: true });
    await writeFile(at("a", "text"), "x".repeat(200_000));
    await chmod(at("a", "text"), 0o754);
    await utimes(at("a", "text"), 2000.25, 3000.5);
    await symlink("text", at("a", "link"));
    await symlink("/nowhere", at("a", "broken"));
    await chmod(at("a", "empty"), 0o700);
    await utimes(at("a"), 5000, 6000);
    const warnings: string[] = [];
    await writeFiles(readFiles(at("a")), "a", at("b"), (text) => warnings.push(text));
    expect(warnings).toEqual([]);
    expect(await readFile(at("b", "text"), "utf8")).toBe("x".repeat(200_000));
    const text = await stat(at("b", "text"));
    expect([text.mode & 0o7777, text.mtimeMs]).toEqual([0o754, 3_000_500]);
    expect((await stat(at("b"))).mtimeMs).toBe(6_000_000);
    expect((await stat(at("b", "empty"))).mode & 0o7777).toBe(0o700);
    expect([await readlink(at("b", "link")), await readlink(at("b", "broken"))]).toEqual([
      "text",
      "/nowhere",
    ]);
    // A folder that is there takes the copy, and the same copy again.
    for (let time = 0; time < 2; time++) await writeFiles(readFiles(at("a")), "a", at("b"), () => {});
    expect(await readFile(at("b", "a", "text"), "utf8")).toBe("x".repeat(200_000));
  });

  it("says what can't be read or written", async () => {
    const run = (from: string, to: string) => writeFiles(readFiles(from), "x", to, () => {});
    await expect(run(at("none"), at("y"))).rejects.toThrow(/can't read .*none: there is no such file/);
    await writeFile(at("x"), "");
    await expect(run(at("x"), at("none", "y"))).rejects.toThrow(
      /can't write .*none\/y: there is no such file/,
    );
  });
});

describe("a guest's copy", () => {
  it("has the name that the user gave, not the guest's", async () => {
    await writeFiles(parts(...file(".bashrc", "evil")), "asked", folder, () => {});
    expect(await readFile(at("asked"), "utf8")).toBe("evil");
    await expect(lstat(at(".bashrc"))).rejects.toThrow();
  });

  it("gets no rights to run as its owner", async () => {
    await writeFiles(parts(...file("f", "x", 0o6777)), "f", at("f"), () => {});
    expect((await stat(at("f"))).mode & 0o7777).toBe(0o777);
  });

  it.each([
    [
      "a file through a link of its own",
      (outside: string): CopyPart[] => [
        { kind: "link", ...entry("l"), target: outside },
        ...file("l", "evil"),
      ],
    ],
    [
      "a folder through a link of its own",
      (outside: string): CopyPart[] => [
        { kind: "link", ...entry("l"), target: outside },
        { kind: "enter", ...entry("l", 0o755) },
        ...file("victim", "evil"),
      ],
    ],
  ])("does not write %s", async (_, attack) => {
    await mkdir(at("outside"));
    await writeFile(at("outside", "victim"), "good");
    for (const outside of [at("outside"), at("outside", "victim")]) {
      const copy = parts({ kind: "enter", ...entry("d", 0o755) }, ...attack(outside), { kind: "leave" });
      await expect(writeFiles(copy, "d", at("d"), () => {})).rejects.toMatchObject({ code: "E_AGENT_FILE" });
    }
    expect(await readFile(at("outside", "victim"), "utf8")).toBe("good");
  });
});
