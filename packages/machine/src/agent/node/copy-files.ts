/**
 * Files of the host as the parts of a copy, and parts as files.
 *
 * What comes from a guest is written only below the place that the user has named, under the name that the user has given:
 * beneath it no link is followed, whoever has made it, and no file gets rights to be run as its owner.
 */
import { constants } from "node:fs";
import {
  chmod,
  type FileHandle,
  lstat,
  lutimes,
  mkdir,
  open,
  opendir,
  readlink,
  stat,
  symlink,
  unlink,
  utimes,
} from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { fileReason } from "../../files/file-reason.js";
import type { CopyEntry, CopyPart } from "../copy.js";
import { AgentError } from "../errors.js";
import { MAX_DEPTH } from "../protocol.js";

const PART = 65_536;
const NANOSECONDS = 1_000_000_000n;
/** Seconds that a file system of the host can surely have; a guest may claim others. */
const [FIRST_SECOND, LAST_SECOND] = [0, 2 ** 33];
/** Permissions that are kept of a guest's file: none by which it would run as its owner. */
const KEPT_MODE = 0o777;

/**
 * A file or folder, with what it holds. Links are copied as links, but for the source itself; what is none of these is left
 * out with a warning, and so is what can't be opened.
 * @throws AgentError (the iteration rejects) `E_AGENT_FILE` for a source that can't be read, and a file that can't be to its end
 */
export async function* readFiles(path: string): AsyncGenerator<CopyPart> {
  yield* readPart(path, basename(resolve(path)) || "files", 0);
}

async function* readPart(path: string, name: string, depth: number): AsyncGenerator<CopyPart> {
  const isSource = depth === 0;
  const leftOut = (why: string): CopyPart => {
    if (isSource) throw new AgentError("E_AGENT_FILE", `can't read ${path}: ${why}`);
    return { kind: "warning", text: `${path} is left out: ${why}` };
  };
  let info: Awaited<ReturnType<typeof bigStat>>;
  try {
    info = await bigStat(path, isSource);
  } catch (error) {
    yield leftOut(fileReason(error));
    return;
  }
  const entry: CopyEntry = {
    name,
    mode: Number(info.mode & 0o7777n),
    seconds: Number(info.mtimeNs / NANOSECONDS),
    nanoseconds: Number(info.mtimeNs % NANOSECONDS),
    size: Number(info.size),
  };
  if (info.isSymbolicLink()) yield { kind: "link", ...entry, target: await readlink(path) };
  else if (info.isDirectory()) {
    if (depth === MAX_DEPTH)
      throw new AgentError("E_AGENT_FILE", `${path}: more than ${MAX_DEPTH} folders are within each other`);
    let names: string[];
    try {
      names = await namesIn(path);
    } catch (error) {
      yield leftOut(fileReason(error));
      return;
    }
    yield { kind: "enter", ...entry };
    for (const each of names) yield* readPart(join(path, each), each, depth + 1);
    yield { kind: "leave" };
  } else if (info.isFile() || (isSource && !info.isSocket())) yield* readFile(path, entry, leftOut);
  else yield leftOut("it is neither file, folder nor link");
}

const bigStat = (path: string, follows: boolean) => (follows ? stat : lstat)(path, { bigint: true });

async function namesIn(path: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of await opendir(path)) names.push(name);
  return names.sort();
}

async function* readFile(
  path: string,
  entry: CopyEntry,
  leftOut: (why: string) => CopyPart,
): AsyncGenerator<CopyPart> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY);
  } catch (error) {
    yield leftOut(fileReason(error));
    return;
  }
  try {
    yield { kind: "file", ...entry };
    for (;;) {
      const bytes = new Uint8Array(PART);
      const { bytesRead } = await file.read(bytes, 0, PART, null);
      if (bytesRead === 0) break;
      yield { kind: "data", bytes: bytes.subarray(0, bytesRead) };
    }
    yield { kind: "end" };
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    throw new AgentError("E_AGENT_FILE", `can't read ${path}: ${fileReason(cause)}`, { cause });
  } finally {
    await file.close();
  }
}

/**
 * Writes a copy. A folder that is there takes it under the given name, as `cp` has it; else the target is its name.
 * @param name of the source, as the user has written it
 * @param warn is told what was left out
 * @throws AgentError (the promise rejects) `E_AGENT_FILE` for what can't be written; what was written before stays
 */
export async function writeFiles(
  parts: AsyncIterable<CopyPart>,
  name: string,
  target: string,
  warn: (text: string) => void,
): Promise<void> {
  const writer = new FileWriter((await isFolder(target)) ? join(target, name) : target);
  let path = target;
  try {
    for await (const part of parts) {
      if (part.kind === "warning") warn(part.text);
      else {
        path = "name" in part ? writer.place(part.name) : path;
        await writer.write(part, path);
      }
    }
  } catch (cause) {
    await writer.close();
    if (cause instanceof AgentError) throw cause;
    throw new AgentError("E_AGENT_FILE", `can't write ${path}: ${fileReason(cause)}`, { cause });
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/** A copy that is being written: the folders in which it is, and the file. */
class FileWriter {
  private readonly folders: { readonly path: string; readonly entry: CopyEntry }[] = [];
  private file: { readonly handle: FileHandle; readonly entry: CopyEntry } | undefined;

  /** @param root path of the source's copy */
  constructor(private readonly root: string) {}

  /** Where an entry of this name is to be. */
  place(name: string): string {
    const folder = this.folders.at(-1);
    return folder === undefined ? this.root : join(folder.path, name);
  }

  async write(part: Exclude<CopyPart, { kind: "warning" }>, path: string): Promise<void> {
    switch (part.kind) {
      case "enter":
        return this.enter(path, part);
      case "leave": {
        const folder = this.folders.pop()!;
        await chmod(folder.path, folder.entry.mode & KEPT_MODE);
        return utimes(folder.path, timeOf(folder.entry), timeOf(folder.entry));
      }
      case "link":
        return writeLink(path, part.target, part);
      case "file":
        return this.open(path, part);
      case "data":
        for (let at = 0; at < part.bytes.length; )
          at += (await this.file!.handle.write(part.bytes, at)).bytesWritten;
        return;
      case "end":
        return this.endFile();
    }
  }

  /** Gives up what is open. */
  async close(): Promise<void> {
    await this.file?.handle.close().catch(() => {});
  }

  private async enter(path: string, entry: CopyEntry): Promise<void> {
    try {
      await mkdir(path, 0o700);
    } catch (error) {
      if (!(await lstat(path)).isDirectory()) throw error;
    }
    this.folders.push({ path, entry });
  }

  private async open(path: string, entry: CopyEntry): Promise<void> {
    const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
    const isSource = this.folders.length === 0;
    const info = isSource ? undefined : await lstat(path).catch(() => undefined);
    if (info !== undefined && !info.isFile())
      throw new AgentError("E_AGENT_FILE", `can't write ${path}: it is there, and no file`);
    const handle = await open(path, O_WRONLY | O_CREAT | O_TRUNC | (isSource ? 0 : O_NOFOLLOW), 0o600);
    this.file = { handle, entry };
  }

  private async endFile(): Promise<void> {
    const { handle, entry } = this.file!;
    this.file = undefined;
    try {
      if (!(await handle.stat()).isFile()) return;
      await handle.chmod(entry.mode & KEPT_MODE);
      await handle.utimes(timeOf(entry), timeOf(entry));
    } finally {
      await handle.close();
    }
  }
}

async function writeLink(path: string, target: string, entry: CopyEntry): Promise<void> {
  try {
    await symlink(target, path);
  } catch (error) {
    if (!(await lstat(path)).isSymbolicLink()) throw error;
    await unlink(path);
    await symlink(target, path);
  }
  await lutimes(path, timeOf(entry), timeOf(entry));
}

/** When an entry was changed, in seconds as Node has them. */
const timeOf = ({ seconds, nanoseconds }: CopyEntry): number =>
  Math.min(Math.max(seconds, FIRST_SECOND), LAST_SECOND) + nanoseconds / 1e9;
