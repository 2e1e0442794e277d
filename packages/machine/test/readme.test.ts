/** The README's example, run as it stands there. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it, vi } from "vitest";

const folder = mkdtempSync(fileURLToPath(new URL("./readme-", import.meta.url)));
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

it("the machine in ten lines prints what the README says", async () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const [, source, output] = /```ts\n(.*?)```.*?```text\n(.*?)```/s.exec(readme)!;
  writeFileSync(`${folder}/example.ts`, `${source}\nexport {};\n`);
  const lines: string[] = [];
  vi.spyOn(console, "log").mockImplementation((...words: unknown[]) => void lines.push(words.join(" ")));
  await import(`${folder}/example.ts`);
  expect(`${lines.join("\n")}\n`).toBe(output);
});
