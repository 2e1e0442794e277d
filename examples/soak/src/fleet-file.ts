/** The VMs of a run as a Hyperfile: bystanders that compute, workers that clients act on, and guests without manners. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { programFile, programNames } from "./programs.js";

const MEBIBYTE = 2 ** 20;
const HOSTILE_BYTES = 24 * MEBIBYTE;
/** Habits that need a disk, and its size: more than the file system has, see {@link DISKS}. */
const WITH_DISK = /^(fills-disk|scribbles-on-devices)-/;
const DISK_MEBIBYTES = 32;
/** The folder of the disks, beside the Hyperfile: a file system of {@link DISK_FOLDER_BYTES}, where there can be one. */
export const DISKS = "disks";
/** Bytes of it. */
export const DISK_FOLDER_BYTES = 24 * MEBIBYTE;

/** Names of a run's VMs by their role. */
export interface Cast {
  readonly bystanders: readonly string[];
  readonly workers: readonly string[];
  readonly hostile: readonly string[];
}

/** Roles for a number of VMs: every bad habit at least once, where there are enough. */
export function castOf(vms: number): Cast {
  const names = (role: string, count: number) => Array.from({ length: count }, (_, at) => `${role}-${at}`);
  const bystanders = names("bystander", Math.max(1, Math.floor(vms / 10)));
  const workers = names("worker", Math.max(2, Math.floor(vms / 4)));
  const others = Math.max(1, vms - bystanders.length - workers.length);
  const hostile = Array.from(
    { length: others },
    (_, at) => `${programNames[at % programNames.length]}-${Math.floor(at / programNames.length)}`,
  );
  return { bystanders, workers, hostile };
}

/**
 * Writes the Hyperfile and the programs that it names into a folder; gives the file's path.
 * @param cores host cores that all VMs together may use, half of them for those without manners; all by default
 */
export async function writeFleet(folder: string, cast: Cast, cores?: number): Promise<string> {
  const programs = join(folder, "programs");
  await mkdir(programs, { recursive: true });
  for (const name of programNames)
    await writeFile(join(programs, `${name}.elf`), programFile(name, { ramBytes: HOSTILE_BYTES }));
  const embedded = (name: string, more: string) => `  ${name}: { kernel: embedded, memory: 32M${more} }`;
  const limit = cores === undefined ? "" : `, limit: ${cores / 2}`;
  const lines = [
    "name: soak",
    "pools:",
    `  calm: { cpu: { shares: 4000${limit} }, memory: { reservation: 96M } }`,
    `  wild: { cpu: { shares: 1000${limit} } }`,
    "vms:",
    ...cast.bystanders.map((name) => embedded(name, ", pool: calm")),
    // Two workers in one thread, so that what happens to one is beside another.
    ...cast.workers.map((name, at) => embedded(name, at < 2 ? ", pool: calm, group: pair" : ", pool: calm")),
    ...cast.hostile.map((name) => {
      const program = name.replace(/-\d+$/, "");
      const disk = WITH_DISK.test(name)
        ? `, disks: [{ file: ./${DISKS}/${name}.qcow2, format: qcow2, size: ${DISK_MEBIBYTES}M }]`
        : "";
      return `  ${name}: { kernel: ./programs/${program}.elf, memory: ${HOSTILE_BYTES / MEBIBYTE}M, pool: wild, autostart: false, restart: on-failure, console: { log: 1M }${disk} }`;
    }),
  ];
  const file = join(folder, "Hyperfile");
  await writeFile(file, `${lines.join("\n")}\n`);
  return file;
}
