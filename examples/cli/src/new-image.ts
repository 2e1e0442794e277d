/** New images: under another name until they are whole, so that whatever ends this program leaves none in part. */
import { randomBytes } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { link, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { BlockBackend } from "@hyperfile/devices/disk";
import { NodeFile, openStore } from "@hyperfile/devices/node";
import { CliError, systemErrorCode } from "./errors.js";

/** Signals that end the program. */
const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const isThere = (path: string): CliError =>
  new CliError("E_FILE", `${path}: can't make the file: the file is there already`);

/**
 * Makes a file, which `job` fills.
 * @throws CliError `E_FILE` if it is there already, also if another has made it meanwhile
 */
export async function makeImageFile(path: string, job: (file: NodeFile) => Promise<void>): Promise<void> {
  if (existsSync(path)) throw isThere(path);
  const unfinished = join(dirname(path), `.${basename(path)}.unfinished-${randomBytes(4).toString("hex")}`);
  const onSignal = (signal: NodeJS.Signals) => {
    rmSync(unfinished, { force: true });
    for (const each of endingSignals) process.off(each, onSignal);
    process.kill(process.pid, signal);
  };
  for (const signal of endingSignals) process.on(signal, onSignal);
  try {
    const file = await NodeFile.open(unfinished, { create: true });
    try {
      await job(file);
    } finally {
      await file.close();
    }
    await giveName(unfinished, path);
  } finally {
    await rm(unfinished, { force: true });
    for (const signal of endingSignals) process.off(signal, onSignal);
  }
}

/** A link replaces nothing, where there are links: a disk that another has begun to write is not taken from under it. */
async function giveName(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    if (systemErrorCode(error) === "EEXIST") throw isThere(to);
    await rename(from, to);
  }
}

/**
 * Makes an image of the store in the folder `where`, which `job` fills and closes.
 * @throws CliError `E_FILE` if there is one of that name; DiskError
 */
export async function makeStoredImage(
  where: string,
  name: string,
  size: number,
  job: (disk: BlockBackend) => Promise<void>,
): Promise<void> {
  const store = openStore(where);
  if (await store.has(name))
    throw new CliError("E_FILE", `${where}/images/${name}: there is such an image already`);
  const unfinished = `${name}.unfinished-${randomBytes(4).toString("hex")}`;
  await store.create(unfinished, { size });
  try {
    await job(await store.open(unfinished, { isWritable: true }));
    await store.clone(unfinished, name);
  } finally {
    await store.remove(unfinished);
  }
}
