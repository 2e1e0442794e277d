/** What a machine in a page is made from: its files loaded, and a snapshot's machine looked at. */
import type { BootImages, NamedBytes } from "../boot.js";
import type { Xlen } from "../isa.js";
import { zstdCodec } from "../snapshot/codec.js";
import { SnapshotFile } from "../snapshot/format.js";
import { type PlainMachine, plainMachineOf } from "../snapshot/plain-machine.js";
import { PageMachineError } from "./errors.js";
import type { FileRole, FileSource, MachineRecipe } from "./protocol.js";

/** Everything that it takes to make a machine, and to make it again. */
export interface MachineParts {
  readonly boot?: BootImages;
  readonly snapshot?: Uint8Array;
  /** Bytes of RAM. */
  readonly ramBytes: number;
  readonly xlen?: Xlen;
  /** Whether it has a device for sockets, as Debian's machines under a daemon have. */
  readonly hasSockets: boolean;
}

/** Bytes of RAM of a machine that nobody gave any. */
const DEFAULT_MEMORY = 128 * 2 ** 20;

/**
 * Loads files.
 * @throws PageMachineError `E_FETCH`, `E_OPTION` where there is nothing to start, SnapshotError for a damaged snapshot
 */
export async function loadParts({ files, append, memory }: MachineRecipe): Promise<MachineParts> {
  const [kernel, initrd, program, snapshot] = await Promise.all(
    (["kernel", "initrd", "program", "snapshot"] as const).map((role) => load(role, files[role])),
  );
  if (kernel === undefined && program === undefined && snapshot === undefined)
    throw new PageMachineError("E_OPTION", "nothing to start: give a kernel, a program or a snapshot");
  const hasImages = kernel !== undefined || program !== undefined;
  const boot: BootImages = {
    ...(kernel === undefined ? {} : { kernel }),
    ...(initrd === undefined ? {} : { initrd }),
    ...(program === undefined ? {} : { program }),
    ...(append === undefined ? {} : { append }),
  };
  const saved = snapshot === undefined ? undefined : await machineOf(snapshot);
  return {
    ramBytes: memory ?? saved?.ramBytes ?? DEFAULT_MEMORY,
    hasSockets: saved?.hasSockets ?? false,
    ...(hasImages ? { boot } : {}),
    ...(saved === undefined ? {} : { snapshot: snapshot!.bytes, xlen: saved.xlen }),
  };
}

async function load(role: FileRole, source: FileSource | undefined): Promise<NamedBytes | undefined> {
  if (source === undefined) return undefined;
  if ("bytes" in source) return { name: `the ${role}`, bytes: source.bytes };
  const { url } = source;
  const failed = (why: string) =>
    new PageMachineError("E_FETCH", `the ${role} can't be loaded from ${url}: ${why}`);
  let response: Response;
  let bytes: ArrayBuffer;
  try {
    response = await fetch(url);
    bytes = await response.arrayBuffer();
  } catch (error) {
    throw failed(
      `${(error as Error).message}; check the address, and that its server lets this page read it`,
    );
  }
  if (!response.ok)
    throw failed(`the server says ${`${response.status} ${response.statusText}`.trim()}; check the address`);
  return { name: url, bytes: new Uint8Array(bytes) };
}

/** @throws SnapshotError for a damaged one, PageMachineError `E_OPTION` for a machine that a page can't have */
async function machineOf({ name, bytes }: NamedBytes): Promise<PlainMachine> {
  const machine = plainMachineOf(new SnapshotFile(bytes, await zstdCodec()));
  const problem = "problem" in machine ? machine.problem : machine.nics.length > 0 ? "has network cards" : "";
  if (!("problem" in machine) && problem === "") return machine;
  throw new PageMachineError(
    "E_OPTION",
    `${name} is of a machine that ${problem}, and a page has none such: save one with console, entropy and balloon only`,
  );
}
