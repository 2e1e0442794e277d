/**
 * The disks of VMs in a Hyperfile: each names a file, or an image that has one, and says how it is used. Whoever writes to
 * a file is the only one who uses it, as far as that can be told by its name; the host's locks tell the rest.
 */
import type { FieldPath, HyperfileDocument } from "./document.js";
import { shortened } from "./message-text.js";
import { hint } from "./suggest.js";
import type { DiskSpec } from "./types.js";
import { formatSize, MOST_SIZE, parseSize } from "./units.js";

/** Bytes of a sector: a disk has whole ones. */
const SECTOR = 512;
/** Characters of a file's name that a message shows. */
const LONGEST_FILE = 200;

type Fields = Readonly<Record<string, unknown>>;
const none: Fields = Object.freeze(Object.create(null));

/** A file that has to be there. */
export interface NamedFile {
  readonly file: string;
  /** The field that names it. */
  readonly path: FieldPath;
  /** What may be done about one that is not, beside naming another. */
  readonly also?: string;
}

/** What a disk is read from. */
export interface DiskSource {
  readonly document: HyperfileDocument;
  /** Images by name. */
  readonly images: Fields;
  /** Takes the files that have to be there. */
  readonly files: NamedFile[];
}

/** Reads the disks of all VMs of a file. */
export class DiskReader {
  /** How each file is used, by its plain name: the first VM that writes it, and the first that only reads it. */
  private readonly uses = new Map<string, { writer?: string; reader?: string }>();

  constructor(private readonly source: DiskSource) {}

  /** Checks an image's own fields. */
  image(name: string, fields: Fields): void {
    const path = ["images", name];
    this.size(fields, path);
    this.need(fields, path);
  }

  /** One disk of a VM: a name, or a mapping. */
  disk(vm: string, value: unknown, path: FieldPath): DiskSpec {
    const { document, images } = this.source;
    const fields: Fields =
      typeof value !== "string"
        ? (value as Fields)
        : value.includes("/")
          ? { file: value }
          : { image: value };
    const { image } = fields as { readonly image?: string };
    if ((image === undefined) === (fields.file === undefined))
      document.add(
        path,
        image === undefined
          ? "which disk? Give image with a name of images, or file"
          : "image and file are both given: give one",
      );
    if (image !== undefined && !Object.hasOwn(images, image))
      document.add(
        typeof value === "string" ? path : [...path, "image"],
        () =>
          `there is no image ${shortened(image)}; ${hint(image, Object.keys(images), "images")} (a file has a slash in its name, or is given by file)`,
      );
    const declared = image === undefined ? none : ((images[image] ?? none) as Fields);
    if (image !== undefined && fields.size !== undefined)
      document.add(
        [...path, "size"],
        `size is for a file that is made: give it with file, or to image ${shortened(image)}`,
      );
    if (image === undefined) this.need(fields, path);
    const own = Object.fromEntries(Object.entries(fields).filter(([, field]) => field !== undefined));
    const all: Fields = { ...declared, ...own };
    const readonly = (all.readonly as boolean | undefined) ?? false;
    const ephemeral = (all.ephemeral as boolean | undefined) ?? false;
    if (readonly && ephemeral)
      document.add(
        path,
        "readonly and ephemeral don't go together: an ephemeral disk is written, and forgets it",
      );
    const sizeBytes = this.size(image === undefined ? fields : declared, path, image === undefined);
    if (sizeBytes !== undefined && (readonly || ephemeral))
      document.add(
        path,
        `size is for a disk that is made to be written: leave it out, or ${readonly ? "readonly" : "ephemeral"}`,
      );
    const file = (all.file as string | undefined) ?? "";
    const isWritten = !readonly && !ephemeral;
    if (isWritten && isAddress(file))
      document.add(
        path,
        `${shortened(file, LONGEST_FILE)} lies behind a web server, and is only read: add readonly, or ephemeral`,
      );
    if (file !== "") this.use(vm, file, isWritten, path);
    return {
      file,
      format: all.format as DiskSpec["format"],
      readonly,
      ephemeral,
      cache: (all.cache as DiskSpec["cache"] | undefined) ?? "writeback",
      serial: all.serial as string | undefined,
      sizeBytes,
    };
  }

  /** Who writes a file is its only user. */
  private use(vm: string, file: string, isWritten: boolean, path: FieldPath): void {
    const name = plainName(file);
    const use = this.uses.get(name) ?? {};
    this.uses.set(name, use);
    const shown = shortened(file, LONGEST_FILE);
    const remedy = "make the disk ephemeral or readonly for each VM, or give each a file of its own";
    if (isWritten && (use.writer !== undefined || use.reader !== undefined)) {
      const other = use.writer ?? use.reader;
      const does = use.writer !== undefined ? `writes to ${shown} too` : `reads ${shown}, which would change`;
      this.source.document.add(path, `${other} ${does}: ${remedy}`);
    } else if (!isWritten && use.writer !== undefined)
      this.source.document.add(path, `${use.writer} writes to ${shown}, which is read here: ${remedy}`);
    if (isWritten) use.writer ??= vm;
    else use.reader ??= vm;
  }

  /** What is made on its first use need not be there. */
  private need(fields: Fields, path: FieldPath): void {
    const { file, size } = fields as { readonly file?: string; readonly size?: string };
    if (file === undefined || size !== undefined || isAddress(file)) return;
    this.source.files.push({ file, path: [...path, "file"], also: "; give size to have it made" });
  }

  /** @param isTold whether mistakes are told, which are an image's own elsewhere */
  private size(fields: Fields, path: FieldPath, isTold = true): number | undefined {
    const { size, file, format } = fields as Readonly<Record<"size" | "file" | "format", string | undefined>>;
    if (size === undefined) return undefined;
    const bytes = parseSize(size);
    const at = [...path, "size"];
    if (bytes === undefined || bytes < SECTOR || bytes % SECTOR !== 0) {
      if (isTold)
        this.source.document.add(
          at,
          `${shortened(size)} is impossible for a disk: give whole sectors of ${SECTOR} bytes, up to ${formatSize(MOST_SIZE)}`,
        );
      return undefined;
    }
    if (isTold && file !== undefined && isAddress(file))
      this.source.document.add(at, "nothing is made behind a web server: leave size out");
    else if (isTold && file !== undefined && format === undefined)
      this.source.document.add(at, "in which format is it made? Give format: raw, qcow2 or store");
    return bytes;
  }
}

const isAddress = (file: string): boolean => /^https?:\/\//i.test(file);

/** A file's name without what makes no difference. */
function plainName(file: string): string {
  if (isAddress(file)) return file;
  const parts: string[] = [];
  for (const part of file.split("/")) {
    if (part === "." || part === "") continue;
    const last = parts.at(-1);
    if (part === ".." && last !== undefined && last !== "..") parts.pop();
    else parts.push(part);
  }
  return `${file.startsWith("/") ? "/" : ""}${parts.join("/")}`;
}
