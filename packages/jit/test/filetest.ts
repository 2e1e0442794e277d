/**
 * File tests: a text file of cases, each an input and, after a line `=>`, the expected output of a stage. Cases
 * begin with `=== title`; what stands before the first one is the file's comment. With UPDATE_FILETESTS=1 in the
 * environment the outputs are rewritten instead of compared: read the difference before committing it.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

interface Case {
  readonly title: string;
  readonly input: string;
  expected: string;
}

const directory = (folder: string): string => fileURLToPath(new URL(`filetests/${folder}/`, import.meta.url));
const updating = (): boolean => process.env.UPDATE_FILETESTS === "1";

function split(text: string): { readonly comment: string; readonly cases: Case[] } {
  const [comment, ...rest] = text.split(/^=== /m);
  const cases = rest.map((content) => {
    const end = content.indexOf("\n");
    const [input, expected = ""] = content.slice(end + 1).split(/^=>\n/m);
    return { title: content.slice(0, end), input: input!, expected: expected.trimEnd() };
  });
  return { comment: comment!, cases };
}

const join = (comment: string, cases: readonly Case[]): string =>
  comment + cases.map(({ title, input, expected }) => `=== ${title}\n${input}=>\n${expected}\n`).join("\n");

/**
 * Declares the tests of one file.
 * @param folder folder below `test/filetests`
 * @param name the file's name
 * @param stage gives a case's output from its input and title
 */
export function fileTests(
  folder: string,
  name: string,
  stage: (input: string, title: string) => string,
): void {
  const path = directory(folder) + name;
  const { comment, cases } = split(readFileSync(path, "utf8"));
  describe(`${folder}/${name}`, () => {
    for (const each of cases) {
      it(each.title, () => {
        const output = stage(each.input, each.title).trimEnd();
        if (!updating()) expect(output).toBe(each.expected);
        each.expected = output;
        if (updating()) writeFileSync(path, join(comment, cases));
      });
    }
  });
}

/** Names of the files in a folder below `test/filetests`, in order. */
export const fileTestsIn = (folder: string): string[] => readdirSync(directory(folder)).sort();
