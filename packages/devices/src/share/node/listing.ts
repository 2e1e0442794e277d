/** The names in a folder of the host's, read in pieces: nobody knows before how many there are. */
import { type Dir, type Dirent, opendir } from "node:fs";
import { FolderError } from "../errors.js";
import type { FolderName } from "../shared-folder.js";
import { call, kindOf } from "./host-calls.js";

/** Entries that the host gives at once. */
const BATCH = 256;
/** What the names of one folder may take of the host's memory, about, in bytes. */
const MOST_BYTES = 32 << 20;
const ENTRY_BYTES = 64;

/** @throws FolderError `ENOMEM` for a folder with too many names */
export async function namesIn(path: string): Promise<readonly FolderName[]> {
  const options = { encoding: "buffer" as never, bufferSize: BATCH };
  const folder = await call<Dir>((done) => opendir(path, options, done));
  const names: FolderName[] = [];
  let bytes = 0;
  try {
    for (;;) {
      const entry = await call<Dirent | null>((done) => folder.read(done));
      if (entry === null) return names;
      const name = (entry.name as unknown as Buffer).toString("latin1");
      bytes += ENTRY_BYTES + name.length;
      if (bytes > MOST_BYTES) throw new FolderError("ENOMEM");
      names.push({ name, kind: kindOf(entry) });
    }
  } finally {
    await call((done) => folder.close(done as never));
  }
}
