/** What a VM of a Hyperfile boots: its files read, its kernel found, its width known. */
import { resolve } from "node:path";
import type { VmSpec } from "@hyperfile/broker";
import type { BootImages } from "@hyperfile/machine";
import { isaWidths } from "@hyperfile/machine/guests";
import { readNamedFile } from "../commands/options.js";
import { elfWidth } from "../commands/run.js";
import { readEmbeddedGuest } from "../embedded-guest.js";
import { CliError } from "../errors.js";
import type { NamedBytes } from "../machine-types.js";

/** The files of one VM. */
export interface BootFiles {
  readonly xlen: 32 | 64;
  readonly images: BootImages;
}

/**
 * Reads a VM's files.
 * @param folder from which they are named
 * @throws CliError `E_FILE` for one that can't be read, `E_USAGE` for widths that don't fit, and Debian's errors
 */
export async function readBootFiles(spec: VmSpec, folder: string): Promise<BootFiles> {
  const { boot } = spec;
  const read = (what: string, file: string) => readNamedFile(what, resolve(folder, file));
  const [kernel, builtinInitrd, append] = await kernelOf(spec, folder);
  const initrd =
    boot.initrd === undefined
      ? builtinInitrd
      : await readNamedFile("initrd", resolve(folder, boot.initrd), spec.memoryBytes);
  const firmware = boot.firmware === undefined ? undefined : await read("firmware", boot.firmware);
  const program = boot.program === undefined ? undefined : await read("program", boot.program);
  const main = program ?? kernel ?? firmware;
  const declared = main === undefined ? undefined : elfWidth(main.bytes);
  const asked = spec.isa === undefined ? undefined : isaWidths[spec.isa as keyof typeof isaWidths];
  if (declared !== undefined && asked !== undefined && declared !== asked) {
    throw new CliError(
      "E_USAGE",
      `VM ${spec.name}: ${main!.name} is a ${declared}-bit program, but isa says ${asked} bits`,
    );
  }
  return {
    xlen: asked ?? declared ?? 64,
    images: {
      append,
      ...(kernel === undefined ? {} : { kernel }),
      ...(initrd === undefined ? {} : { initrd }),
      ...(firmware === undefined ? {} : { firmware }),
      ...(program === undefined ? {} : { program }),
    },
  };
}

/** The kernel, the initial file system that comes with it, and the command line. */
async function kernelOf(
  { boot, console: { columns, rows } }: VmSpec,
  folder: string,
): Promise<[kernel: NamedBytes | undefined, initrd: NamedBytes | undefined, append: string]> {
  const { kernel, append } = boot;
  if (kernel === undefined) return [undefined, undefined, append];
  if ("file" in kernel)
    return [await readNamedFile("kernel", resolve(folder, kernel.file)), undefined, append];
  if (kernel.builtin === "embedded") return [await readEmbeddedGuest(), undefined, append];
  const { debianBoot } = await import("@hyperfile/machine/debian");
  const debian = await debianBoot({ columns, rows, append });
  return [debian.kernel, debian.initrd, debian.append ?? append];
}
