/** The Hyperfiles of the projects that are up, as files: a daemon that starts later takes them up again. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileErrorReason } from "../../files/file-reason.js";
import { makeFoldersSync, OWNER_ONLY } from "../../files/node/make-folders.js";
import { LifecycleError } from "../errors.js";

/** A Hyperfile as a client sends it. */
export interface HyperfileSource {
  readonly text: string;
  /** Its name, for messages. */
  readonly file: string;
  /** Absolute path of its folder. */
  readonly folder: string;
}

/** A Hyperfile that is written, and does not yet stand for its project. */
export interface KeptProject {
  /** It stands for its project from now on. */
  commit(): void;
  /** It is removed, and what stood for the project still does. */
  drop(): void;
}

const ENDING = ".json";

/** The files. */
export class ProjectFiles {
  /** @param folder in which they are; made when the first one is */
  constructor(private readonly folder: string) {}

  /** Names of the projects. @throws Error as `readdirSync` does, but for a folder that is not there */
  names(): string[] {
    if (!existsSync(this.folder)) return [];
    return readdirSync(this.folder)
      .filter((name) => name.endsWith(ENDING))
      .map((name) => name.slice(0, -ENDING.length));
  }

  /** @throws Error as reading does, or for what is no JSON */
  read(project: string): HyperfileSource {
    return JSON.parse(readFileSync(this.path(project), "utf8")) as HyperfileSource;
  }

  /** Writes what can fail. @throws LifecycleError `E_DISK`; nothing is left then */
  keep(project: string, source: HyperfileSource): KeptProject {
    const path = this.path(project);
    const beside = `${path}.new`;
    const drop = () => rmSync(beside, { force: true });
    try {
      makeFoldersSync(this.folder, OWNER_ONLY);
      writeFileSync(beside, JSON.stringify(source), { mode: 0o600 });
    } catch (error) {
      try {
        drop();
      } catch {
        // On a disk that can't be written, what is there stays.
      }
      throw new LifecycleError(
        "E_DISK",
        `can't keep project ${project} in ${this.folder}: ${fileErrorReason(error)}; mend that and try again`,
        { cause: error },
      );
    }
    return { commit: () => renameSync(beside, path), drop };
  }

  /** @throws Error as `rmSync` does */
  forget(project: string): void {
    rmSync(this.path(project), { force: true });
  }

  private path(project: string): string {
    return join(this.folder, `${project}${ENDING}`);
  }
}
