/** Small Debian packages and kernel modules, made in memory for tests. */
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";

/** A tar archive of `files`. */
export async function makeTar(files: Readonly<Record<string, Uint8Array | string>>): Promise<Uint8Array> {
  const archive = pack();
  for (const [name, content] of Object.entries(files))
    archive.entry({ name, mode: 0o644 }, Buffer.from(content));
  archive.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of Readable.from(archive)) chunks.push(chunk as Uint8Array);
  return Uint8Array.from(Buffer.concat(chunks));
}

/** An ar archive of `members`, padded to even offsets. */
export function makeAr(members: Readonly<Record<string, Uint8Array | string>>): Uint8Array {
  const chunks: Buffer[] = [Buffer.from("!<arch>\n")];
  for (const [name, content] of Object.entries(members)) {
    const bytes = Buffer.from(content);
    const header = `${name.padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}${String(bytes.length).padEnd(10)}\`\n`;
    chunks.push(Buffer.from(header), bytes, Buffer.alloc(bytes.length % 2, "\n"));
  }
  return Uint8Array.from(Buffer.concat(chunks));
}

/** A Debian package with `files` as its content, compressed with gzip. */
export async function makeDeb(files: Readonly<Record<string, Uint8Array | string>>): Promise<Uint8Array> {
  return makeAr({
    "debian-binary": "2.0\n",
    "control.tar.gz": gzipSync(await makeTar({ "./control": "Package: x\n" })),
    "data.tar.gz": gzipSync(await makeTar(files)),
  });
}

/** A 64-bit little-endian ELF file whose only content is a `.modinfo` section with `fields`. */
export function makeModule(fields: readonly string[]): Uint8Array {
  const names = Buffer.from("\0.modinfo\0.shstrtab\0");
  const information = Buffer.from(fields.map((field) => `${field}\0`).join(""));
  const file = Buffer.alloc(64 + names.length + information.length + 3 * 64);
  const table = file.length - 3 * 64;
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(file);
  file.writeBigUInt64LE(BigInt(table), 40);
  file.writeUInt16LE(64, 58);
  file.writeUInt16LE(3, 60);
  file.writeUInt16LE(2, 62);
  names.copy(file, 64);
  information.copy(file, 64 + names.length);
  const section = (index: number, name: number, offset: number, size: number) => {
    file.writeUInt32LE(name, table + index * 64);
    file.writeBigUInt64LE(BigInt(offset), table + index * 64 + 24);
    file.writeBigUInt64LE(BigInt(size), table + index * 64 + 32);
  };
  section(1, 1, 64 + names.length, information.length);
  section(2, 10, 64, names.length);
  return Uint8Array.from(file);
}
