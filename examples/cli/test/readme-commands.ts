/** The commands that READMEs show, as a reader would copy them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's folder. */
export const root = fileURLToPath(new URL("../../../", import.meta.url));

/** A command with the README that shows it. */
export interface ReadmeCommand {
  /** From the repository's folder. */
  readonly file: string;
  /** Number of its block in the file, from 0. */
  readonly block: number;
  readonly command: string;
}

/** All READMEs: the repository's, the packages' and the examples'. */
export function readmes(): string[] {
  const inside = ["packages", "examples"].flatMap((folder) =>
    readdirSync(join(root, folder)).map((name) => `${folder}/${name}/README.md`),
  );
  return ["README.md", ...inside].filter((file) => existsSync(join(root, file)));
}

/** The commands in the blocks of a README that are marked `sh`: each line, without its comment. */
export function commandsIn(file: string): ReadmeCommand[] {
  const text = readFileSync(join(root, file), "utf8");
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, content = ""], block) =>
    content
      .split("\n")
      .map((line) => line.replace(/\s+#.*$/, "").trim())
      .filter((command) => command !== "" && !command.startsWith("#"))
      .map((command) => ({ file, block, command })),
  );
}
