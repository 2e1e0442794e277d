/** What files that a user opens are: told by their first bytes, not by their names. */
import type { NamedBytes } from "@hyperfile/machine";
import type { VmRecipe } from "../host/protocol.js";

/** What is to be done with files. */
export type Opened =
  | { readonly kind: "snapshot"; readonly name: string; readonly bytes: Uint8Array }
  | { readonly kind: "machine"; readonly name: string; readonly recipe: Omit<VmRecipe, "ramBytes"> };

/** Largest file that is opened, in bytes: it is read as a whole. */
const MOST_BYTES = 2 ** 30;
const ELF_MACHINE_RISCV = 243;
/** Where an ELF file says its width, and what its kind is when it is linked for fixed addresses. */
const [EI_CLASS, ET_EXEC] = [4, 2];

type Kind = "snapshot" | "elf" | "kernel" | "initrd" | "qcow2" | "disk" | "gzip";

/**
 * Opens files: a snapshot alone; or a kernel or program, with an initramfs and disks beside it.
 * @throws Error of one line that names the file and says what to do
 */
export async function openFiles(files: readonly File[]): Promise<Opened> {
  const opened: { readonly name: string; readonly bytes: Uint8Array; readonly kind: Kind }[] = [];
  for (const file of files) {
    if (file.size > MOST_BYTES)
      throw new Error(
        `${file.name} has more than ${MOST_BYTES / 2 ** 30} GiB: serve it, and give its address`,
      );
    const bytes = new Uint8Array(await file.arrayBuffer());
    opened.push({ name: file.name, bytes, kind: kindOf(file.name, bytes) });
  }
  const of = (...kinds: Kind[]) => opened.filter(({ kind }) => kinds.includes(kind));
  const packed = of("gzip")[0];
  if (packed !== undefined)
    throw new Error(`${packed.name} is compressed with gzip: unpack it first (gunzip), an initramfs too`);
  const [snapshot] = of("snapshot");
  if (snapshot !== undefined) {
    if (opened.length > 1) throw new Error(`${snapshot.name} is a snapshot: open it alone`);
    return { kind: "snapshot", name: baseOf(snapshot.name), bytes: snapshot.bytes };
  }
  const [qcow2] = of("qcow2");
  if (qcow2 !== undefined)
    throw new Error(
      `${qcow2.name} is a qcow2 image: make it raw first (hyperfile image convert --format raw)`,
    );
  const starters = of("elf", "kernel");
  const [starter] = starters;
  if (starter === undefined)
    throw new Error(
      `${opened[0]!.name} can't be started: open it together with a kernel (an Image or an ELF file)`,
    );
  if (starters.length > 1)
    throw new Error(`${starters[1]!.name}: there is a kernel already, ${starter.name}: open one of them`);
  const [initrd, second] = of("initrd");
  if (second !== undefined) throw new Error(`${second.name}: there is an initramfs already, ${initrd!.name}`);
  const image: NamedBytes = { name: starter.name, bytes: starter.bytes };
  const isProgram = starter.kind === "elf" && initrd === undefined && startsAtRam(starter.bytes);
  return {
    kind: "machine",
    name: baseOf(starter.name),
    recipe: {
      ...(starter.kind === "elf" ? { xlen: starter.bytes[EI_CLASS] === 1 ? 32 : 64 } : {}),
      boot: isProgram
        ? { program: image }
        : {
            kernel: image,
            append: of("disk").length > 0 ? "console=ttyS0 root=/dev/vda rw" : "console=ttyS0",
            ...(initrd === undefined ? {} : { initrd: { name: initrd.name, bytes: initrd.bytes } }),
          },
      disks: of("disk").map(({ name, bytes }) => ({ kind: "bytes", name, bytes })),
    },
  };
}

/** @throws Error for files of other machines */
function kindOf(name: string, bytes: Uint8Array): Kind {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = (at: number, length: number) => String.fromCharCode(...bytes.subarray(at, at + length));
  if (bytes.length === 0) throw new Error(`${name} is empty`);
  if (text(0, 8) === "HYPERSNP") return "snapshot";
  if (text(0, 4) === "\x7fELF") {
    const machine = bytes.length >= 20 ? view.getUint16(18, true) : 0;
    if (machine !== ELF_MACHINE_RISCV)
      throw new Error(`${name} is an ELF file for another machine (number ${machine}): these are RISC-V`);
    return "elf";
  }
  // The magic of a RISC-V Image, and of one with an EFI stub.
  if (bytes.length >= 64 && text(0x38, 4) === "RSC\x05") return "kernel";
  if (text(0, 4) === "QFI\xfb") return "qcow2";
  if (text(0, 5) === "07070") return "initrd";
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "gzip";
  if (bytes.length % 512 === 0) return "disk";
  throw new Error(
    `${name} is no file that a machine can use: open a kernel (Image or ELF), an initramfs (cpio), a raw disk image or a snapshot`,
  );
}

/** Whether a program is linked for the start of RAM, where M mode begins; kernels for S mode lie above the firmware. */
function startsAtRam(bytes: Uint8Array): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 64 || view.getUint16(16, true) !== ET_EXEC) return false;
  const is64 = bytes[EI_CLASS] === 2;
  const entry = is64 ? Number(view.getBigUint64(24, true)) : view.getUint32(24, true);
  return entry >= 0x80000000 && entry < 0x80200000;
}

const baseOf = (name: string): string =>
  name
    .replace(/\.[^.]*$/, "")
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 24) || "machine";
