/** Folders for tests, shared with a FUSE client. */
import { mkdtempSync, readdirSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { LinuxFolder, type LinuxFolderOptions } from "../src/share/node/linux-folder.js";
import { directCarrier, FuseClient } from "./fuse-client.js";

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (data: Uint8Array): string => Buffer.from(data).toString("latin1");

/** An empty folder that goes with the test. */
export function temporary(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "hyperfile-share-")));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A client of a new folder, or of one that is there. */
export async function client(options: LinuxFolderOptions & { path?: string } = {}) {
  const path = options.path ?? temporary();
  const folder = await LinuxFolder.open(path, options);
  const errors: unknown[] = [];
  const { carry, server } = directCarrier(folder, { onError: (error) => errors.push(error) });
  onTestFinished(() => {
    server.close();
    folder.close();
    expect(errors).toEqual([]);
  });
  const fuse = new FuseClient(carry);
  expect((await fuse.start()).error).toBe(undefined);
  return { fuse, server, folder, path };
}

/** Handles of this process on something below a path. */
export function handlesBelow(path: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${path}/`);
    } catch {
      return false;
    }
  }).length;
}

/** Lets closes that are under way come to their end. */
export async function handlesSettle(path: string): Promise<number> {
  for (let turns = 0; turns < 200 && handlesBelow(path) > 0; turns++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  return handlesBelow(path);
}
