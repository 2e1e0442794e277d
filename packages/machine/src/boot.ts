/** What a machine boots: its images looked into, and laid out in its memory. */
import { RAM_BASE } from "@hyperfile/devices";
import {
  type BootPlan,
  bootPlan,
  checkInitrd,
  type ElfFile,
  type ElfSegment,
  isElf,
  type Kernel,
  parseElf,
  parseKernel,
  programPlan,
} from "@hyperfile/devices/image";
import { MachineError } from "./errors.js";
import type { Xlen } from "./isa.js";

/** M mode, as harts are entered in it. */
const MACHINE_MODE = 3;

/** A file's content with the name that messages use for it. */
export interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The images that a machine boots from: a kernel with what goes with it, a bare-metal program, or bare code. */
export interface BootImages {
  /** Started in S mode: a raw `Image` or an ELF file. */
  readonly kernel?: NamedBytes;
  /** The kernel's initial file system. */
  readonly initrd?: NamedBytes;
  /** Started in M mode in place of the built-in SBI; it starts the kernel. */
  readonly firmware?: NamedBytes;
  /** A bare-metal ELF file, started in M mode. */
  readonly program?: NamedBytes;
  /** Instructions for the start of RAM, entered in M mode. */
  readonly code?: Uint8Array;
  /** The kernel's command line. */
  readonly append?: string;
}

/** Images that were looked into. */
export interface OpenImages {
  /** Register width that an ELF file among them declares. */
  readonly xlen: Xlen | undefined;
  readonly program?: ElfFile;
  readonly code?: Uint8Array;
  readonly kernel?: Kernel;
  readonly initrd?: Uint8Array;
  /** A raw binary, or the segments of an ELF file. */
  readonly firmware?: Uint8Array | readonly ElfSegment[];
  readonly append: string;
}

/**
 * Looks into images.
 * @throws ImageError for files that are none, MachineError `E_BOOT` for some that don't go together
 */
export function openImages(images: BootImages): OpenImages {
  const { initrd, code, append = "" } = images;
  const main = [images.kernel, images.program, code].filter((image) => image !== undefined);
  if (main.length !== 1) {
    const what = main.length === 0 ? "nothing to boot" : "more than one thing to boot";
    throw new MachineError("E_BOOT", `${what}: give a kernel, a program or code`);
  }
  if (images.kernel === undefined && (images.firmware !== undefined || initrd !== undefined))
    throw new MachineError("E_BOOT", "firmware and initrd go with a kernel: give one, or leave them out");
  if (code !== undefined) return { xlen: undefined, code, append };
  if (images.program !== undefined) {
    const program = parseElf(images.program.bytes, images.program.name);
    return { xlen: program.xlen, program, append };
  }
  const kernel = parseKernel(images.kernel!.bytes, images.kernel!.name);
  if (initrd !== undefined) checkInitrd(initrd.bytes, initrd.name);
  const firmware = images.firmware && firmwareIn(images.firmware);
  return {
    xlen: kernel.kind === "elf" ? kernel.elf.xlen : undefined,
    kernel,
    append,
    ...(initrd === undefined ? {} : { initrd: initrd.bytes }),
    ...(firmware === undefined ? {} : { firmware }),
  };
}

const firmwareIn = ({ name, bytes }: NamedBytes): Uint8Array | readonly ElfSegment[] =>
  isElf(bytes) ? parseElf(bytes, name).segments : bytes;

/**
 * The width of the machine for images.
 * @throws MachineError `E_BOOT` if they are made for another than the one that is asked for
 */
export function widthOf(images: BootImages, open: OpenImages, asked: Xlen | undefined): Xlen {
  const { xlen } = open;
  if (xlen !== undefined && asked !== undefined && xlen !== asked) {
    const { name } = (images.program ?? images.kernel)!;
    throw new MachineError(
      "E_BOOT",
      `${name} is a ${xlen}-bit program, the machine is ${asked}-bit: make it rv${xlen}gc`,
    );
  }
  return asked ?? xlen ?? 64;
}

/**
 * What goes where in the machine's memory.
 * @throws ImageError for what doesn't fit
 */
export function planImages(
  open: OpenImages,
  xlen: Xlen,
  ramBytes: number,
  deviceTree: (initrd: { start: number; end: number } | undefined) => Uint8Array,
): BootPlan {
  const { program, code, kernel, initrd, firmware } = open;
  if (program !== undefined) return programPlan(program, ramBytes);
  if (code !== undefined) return codePlan(code, ramBytes);
  return bootPlan({
    xlen,
    ramBytes,
    kernel: kernel!,
    deviceTree,
    ...(initrd === undefined ? {} : { initrd }),
    ...(firmware === undefined ? {} : { firmware }),
  });
}

/** @throws MachineError `E_BOOT` */
function codePlan(code: Uint8Array, ramBytes: number): BootPlan {
  if (code.length > ramBytes)
    throw new MachineError(
      "E_BOOT",
      `${code.length} bytes of code for ${ramBytes} bytes of RAM: give it more`,
    );
  const placement = { what: "code", gpa: RAM_BASE, bytes: code, memoryBytes: code.length };
  return { entry: RAM_BASE, mode: MACHINE_MODE, args: [0, 0, 0], placements: [placement] };
}
