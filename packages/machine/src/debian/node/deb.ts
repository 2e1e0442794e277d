/**
 * Reads the files out of a Debian package without unpacking it to the disk.
 * A `.deb` is an ar archive (deb(5)): `debian-binary`, `control.tar.*`, `data.tar.*`; the last is streamed
 * through its decompressor and a tar reader, since a kernel package unpacks to more than 130 MB.
 */

import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { Readable, Transform } from "node:stream";
import * as zlib from "node:zlib";
import { extract as tarExtract } from "tar-stream";
import xz from "xz-decompress";
import { fileReason } from "../../files/file-reason.js";
import { DebianError } from "../errors.js";
import type { ControlMember } from "../image/unpacked-state.js";
import { TarEnd } from "./tar-end.js";

/** A file in a package. */
export interface PackageFile {
  /** Path in the package, without a leading `./` or `/`. */
  path: string;
  /** Permission bits. */
  mode: number;
  /** Content. */
  bytes: Uint8Array;
}

/** A symbolic link in a package. */
export interface PackageLink {
  /** Path in the package, without a leading `./` or `/`. */
  path: string;
  /** What it points to. */
  target: string;
}

const arMagic = "!<arch>\n";
const arHeaderBytes = 60;

/** Decompresses a whole xz stream held in memory, such as a compressed kernel module. */
export async function decompressXz(bytes: Uint8Array): Promise<Uint8Array> {
  return collect(xzStream(Readable.from([bytes])));
}

/**
 * `source` decompressed. The library decodes one stream at a time: a second one waits until the first is
 * read to its end or cancelled. It asks for input once more after a complete stream, and without end after
 * a truncated one, hence the count.
 */
function xzStream(source: Readable): Readable {
  const chunks = source[Symbol.asyncIterator]();
  let requestsPastEnd = 0;
  const web = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done && ++requestsPastEnd > 2) throw new Error("the xz stream ends early");
        controller.enqueue(done ? new Uint8Array(0) : value);
      },
    },
    { highWaterMark: 0 },
  );
  return Readable.from(new xz.XzReadableStream(web) as unknown as AsyncIterable<Uint8Array>);
}

async function collect(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Uint8Array.from(Buffer.concat(chunks));
}

/** zstd came to `node:zlib` with Node 22.15, so its presence is asked for. */
const zstd = (zlib as { createZstdDecompress?: () => NodeJS.ReadWriteStream }).createZstdDecompress;

/** The reader of each compression that Debian has used for the archives of packages, by the member's suffix. */
function decompressorOf(member: string, file: string): (source: Readable) => Readable {
  const suffix = /\.tar(\..*)?$/.exec(member)?.[1] ?? "";
  if (suffix === "") return (source) => source;
  if (suffix === ".xz") return xzStream;
  if (suffix === ".gz") return (source) => joined(source, zlib.createGunzip());
  if (suffix === ".zst" && zstd) return (source) => joined(source, zstd() as unknown as zlib.Gunzip);
  const remedy =
    suffix === ".zst" ? "use Node 22.15 or newer, which reads zstd" : "expected .xz, .zst or .gz";
  throw new DebianError("E_PACKAGE_FORMAT", `${file}: can't decompress ${member}: ${remedy}`);
}

/** `source` piped into `transform`, with the errors of both on the result. */
function joined(source: Readable, transform: zlib.Gunzip): Readable {
  source.on("error", (error) => transform.destroy(error));
  return source.pipe(transform);
}

/** A member of an ar archive, and where its bytes are in the file. */
interface ArMember {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

/** Finds a member of an ar archive by its name's start: its full name, and where its bytes are in the file. */
async function findArMember(handle: FileHandle, file: string, start: string): Promise<ArMember> {
  const { size: fileSize } = await handle.stat();
  const header = Buffer.alloc(arHeaderBytes);
  const fail = (what: string) =>
    new DebianError("E_PACKAGE_FORMAT", `${file} is not a Debian package: ${what}`);
  const { bytesRead } = await handle.read(header, 0, arMagic.length, 0);
  if (header.toString("latin1", 0, bytesRead) !== arMagic) throw fail("it doesn't begin with an ar header");
  let offset = arMagic.length;
  while (offset + arHeaderBytes <= fileSize) {
    await handle.read(header, 0, arHeaderBytes, offset);
    const text = header.toString("latin1");
    const name = text.slice(0, 16).trim().replace(/\/$/, "");
    const sizeText = text.slice(48, 58).trim();
    if (text.slice(58) !== "`\n" || !/^\d+$/.test(sizeText)) throw fail(`bad ar header at byte ${offset}`);
    const size = Number(sizeText);
    const body = offset + arHeaderBytes;
    if (body + size > fileSize) throw fail(`it ends inside its member ${name}`);
    if (name.startsWith(start)) return { name, offset: body, size };
    offset = body + size + (size % 2);
  }
  throw fail(`it has no member ${start}`);
}

/** A member's bytes as they are in the file, and decompressed. */
function openMember(
  handle: FileHandle,
  file: string,
  member: ArMember,
): { readonly source: Readable; readonly content: Readable } {
  const decompress = decompressorOf(member.name, file);
  const source = handle.createReadStream({
    start: member.offset,
    end: member.offset + member.size - 1,
    highWaterMark: 1 << 18,
    autoClose: false,
  });
  return { source, content: decompress(source) };
}

async function writeAll(target: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; )
    done += (await target.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
}

/**
 * Writes the package at `file` to `target` from `offset` on, its archives not compressed: who reads it may be slow at that.
 * Gives its bytes.
 * @throws DebianError `E_PACKAGE_FORMAT` when the package is damaged, `E_CACHE` when it can't be read
 */
export async function writeUncompressed(file: string, target: FileHandle, offset: number): Promise<number> {
  return withPackage(file, async (handle) => {
    let at = offset;
    const write = async (bytes: Uint8Array) => {
      await writeAll(target, bytes, at);
      at += bytes.length;
    };
    await write(Buffer.from(arMagic));
    for (const start of ["debian-binary", "control.tar", "data.tar"]) {
      const member = await findArMember(handle, file, start);
      const header = at;
      at += arHeaderBytes;
      const { source, content } = openMember(handle, file, member);
      try {
        for await (const chunk of content) await write(chunk);
      } catch (error) {
        // Only here: it closes the file, too.
        source.destroy();
        content.destroy();
        throw error;
      }
      const size = at - header - arHeaderBytes;
      await target.write(Buffer.from(arHeader(start, size)), 0, arHeaderBytes, header);
      if (size % 2 === 1) await write(Buffer.from("\n"));
    }
    return at - offset;
  });
}

/** A file, folder or link that a package brings. */
export interface LaidOutEntry {
  /** Path from the root, with a slash in front and none behind; `/.` is the root. */
  readonly path: string;
  readonly isFolder: boolean;
  /** MD5 of a regular file, 32 hexadecimal digits, if it was asked for. */
  readonly digest?: string;
}

/**
 * Writes the tar archive of the files of the package at `file` to `target` from `offset` on. Gives the bytes up to the
 * zeros that end it, where another archive can begin that goes on with this one, and what is in it.
 * @param wantsDigest whether the MD5 of a regular file is wanted
 * @throws DebianError `E_PACKAGE_FORMAT` when the package is damaged, `E_CACHE` when it can't be read
 */
export async function writeFiles(
  file: string,
  target: FileHandle,
  offset: number,
  wantsDigest: (path: string) => boolean,
): Promise<{ readonly bytes: number; readonly entries: readonly LaidOutEntry[] }> {
  return withPackage(file, async (handle) => {
    const { source, content } = openMember(handle, file, await findArMember(handle, file, "data.tar"));
    const end = new TarEnd();
    let at = offset;
    const write = async (bytes: Uint8Array): Promise<void> => {
      end.take(bytes);
      await writeAll(target, bytes, at);
      at += bytes.length;
    };
    const tee = new Transform({
      transform: (bytes: Uint8Array, _, done) =>
        void write(bytes).then(
          () => done(undefined, bytes),
          (error: Error) => done(error),
        ),
    });
    const tar = tarExtract();
    const entries: LaidOutEntry[] = [];
    for (const [from, to] of [
      [source, tar],
      [content, tar],
      [tee, tar],
    ] as const)
      from.on("error", (error) => to.destroy(error));
    content.pipe(tee).pipe(tar);
    try {
      for await (const entry of tar) {
        const { name, type } = entry.header;
        const path = `/${name.replace(/^\.?\//, "").replace(/\/$/, "")}`;
        const isFolder = type === "directory";
        let digest: string | undefined;
        if (type === "file" && wantsDigest(path)) {
          const hash = createHash("md5");
          for await (const chunk of entry) hash.update(chunk);
          digest = hash.digest("hex");
        } else entry.resume();
        entries.push({
          path: path === "/" ? "/." : path,
          isFolder,
          ...(digest === undefined ? {} : { digest }),
        });
      }
    } finally {
      source.destroy();
      content.destroy();
    }
    return { bytes: end.bytes, entries };
  });
}

/** The members of the control archive of the package at `file`, by name. @throws DebianError as {@link readPackageFiles} */
export async function readControl(file: string): Promise<ReadonlyMap<string, ControlMember>> {
  const { files } = await readMember(file, "control.tar", () => true);
  return new Map(files.map(({ path, mode, bytes }) => [path, { mode, bytes }]));
}

/** The header of a member: name, time, owner, group, mode and size in columns (ar(5)). */
const arHeader = (name: string, size: number): string =>
  `${name.padEnd(16)}${"0".padEnd(12)}${"0".padEnd(6)}${"0".padEnd(6)}${"100644".padEnd(8)}${String(size).padEnd(10)}\`\n`;

/**
 * The regular files of the package at `file` whose path `select` wants, in the package's order.
 * @throws DebianError `E_PACKAGE_FORMAT` when the package is damaged, `E_CACHE` when it can't be read
 */
export async function readPackageFiles(
  file: string,
  select: (path: string) => boolean,
): Promise<PackageFile[]> {
  return (await readPackage(file, select)).files;
}

/**
 * The regular files and symbolic links of the package at `file` whose path `select` wants, in the package's order. A
 * hard link is given as a symbolic one, by its path from the root.
 * @throws DebianError `E_PACKAGE_FORMAT` when the package is damaged, `E_CACHE` when it can't be read
 */
export async function readPackage(
  file: string,
  select: (path: string) => boolean,
): Promise<{ files: PackageFile[]; links: PackageLink[] }> {
  return readMember(file, "data.tar", select);
}

async function readMember(
  file: string,
  member: string,
  select: (path: string) => boolean,
): Promise<{ files: PackageFile[]; links: PackageLink[] }> {
  const files: PackageFile[] = [];
  const links: PackageLink[] = [];
  return withPackage(file, async (handle) => {
    const { source, content } = openMember(handle, file, await findArMember(handle, file, member));
    const tar = tarExtract();
    source.on("error", (error) => tar.destroy(error));
    content.on("error", (error) => tar.destroy(error));
    content.pipe(tar);
    try {
      for await (const entry of tar) {
        const path = entry.header.name.replace(/^\.?\//, "");
        if (entry.header.type === "file" && select(path)) {
          files.push({ path, mode: (entry.header.mode ?? 0o644) & 0o7777, bytes: await collect(entry) });
        } else {
          const { type, linkname } = entry.header;
          if (linkname && select(path)) {
            if (type === "symlink") links.push({ path, target: linkname });
            if (type === "link") links.push({ path, target: `/${linkname.replace(/^\.?\//, "")}` });
          }
          entry.resume();
        }
      }
    } finally {
      source.destroy();
      content.destroy();
    }
    return { files, links };
  });
}

/** Opens a package for `job`; whatever is wrong with it names the file. */
async function withPackage<T>(file: string, job: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle;
  try {
    handle = await open(file);
  } catch (error) {
    throw new DebianError("E_CACHE", `can't read the package ${file}: ${fileReason(error)}`, {
      cause: error,
    });
  }
  try {
    return await job(handle);
  } catch (error) {
    if (error instanceof DebianError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new DebianError("E_PACKAGE_FORMAT", `${file} is damaged: ${reason}`, { cause: error });
  } finally {
    await handle.close();
  }
}
