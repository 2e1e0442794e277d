/** New qcow2 images. */
import type { CompressionType } from "../cluster-codec.js";
import { DiskError } from "../errors.js";
import type { ImageFile } from "../image-file.js";
import {
  EXTENSION,
  encodeHeader,
  HEADER_BYTES,
  HEADER2_BYTES,
  INCOMPATIBLE,
  L1_LIMIT,
  type Qcow2Header,
  roundUp,
  viewOf,
  writeU64,
} from "./format.js";
import { MetadataMap } from "./metadata-map.js";
import { Refcounts } from "./refcounts.js";

/** What a new image is like. */
export interface CreateQcow2Options {
  /** Bytes of the disk; rounded up to whole sectors of 512. */
  readonly size: number;
  /** 3 by default. */
  readonly version?: 2 | 3;
  /** Bytes of a cluster, a power of two from 512 to 2 MiB; 65536 by default. */
  readonly clusterSize?: number;
  /** Bits of a refcount, a power of two from 1 to 64; 16 by default. */
  readonly refcountBits?: number;
  readonly compression?: CompressionType;
  /** Lets writers that can write refcounts late. */
  readonly lazyRefcounts?: boolean;
  /** What is below, by its name as the image has it, and its format. */
  readonly backingFile?: string;
  readonly backingFormat?: string;
}

/** Bytes of a sector, and names of features that an older reader may have to show. */
const SECTOR = 512;
const featureNames: readonly (readonly [type: number, bit: number, name: string])[] = [
  [0, 0, "dirty bit"],
  [0, 1, "corrupt bit"],
  [0, 2, "external data file"],
  [0, 3, "compression type"],
  [0, 4, "extended L2 entries"],
  [1, 0, "lazy refcounts"],
  [2, 0, "bitmaps"],
  [2, 1, "raw external data"],
];

/**
 * Makes `file` an empty image; what it had is gone.
 * @throws DiskError `E_IMAGE_FORMAT` where options don't go together
 */
export async function createQcow2(file: ImageFile, options: CreateQcow2Options): Promise<void> {
  const { version = 3, clusterSize = 65536, refcountBits = 16, compression = "zlib" } = options;
  const refuse = (how: string) => new DiskError("E_IMAGE_FORMAT", `${file.name}: ${how}`);
  const clusterBits = Math.log2(clusterSize);
  const refcountOrder = Math.log2(refcountBits);
  if (!Number.isInteger(clusterBits) || clusterBits < 9 || clusterBits > 21) {
    throw refuse(`clusters of ${clusterSize} bytes: a power of two from 512 to 2M is needed`);
  }
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > 6) {
    throw refuse(`refcounts of ${refcountBits} bits: a power of two from 1 to 64 is needed`);
  }
  if (version === 2 && (refcountBits !== 16 || compression !== "zlib" || options.lazyRefcounts === true)) {
    throw refuse("version 2 has 16 refcount bits, zlib and no lazy refcounts; use version 3");
  }
  if (!Number.isSafeInteger(options.size) || options.size < 0)
    throw refuse(`a disk of ${options.size} bytes can't be`);
  const size = roundUp(options.size, SECTOR);
  const l1Entries = Math.ceil(size / ((clusterSize / 8) * clusterSize));
  if (l1Entries * 8 > L1_LIMIT) {
    throw refuse(
      `a disk of ${size} bytes is too large for clusters of ${clusterSize} bytes; use larger ones`,
    );
  }
  const l1Clusters = Math.ceil((l1Entries * 8) / clusterSize);
  const header: Qcow2Header = {
    version,
    clusterBits,
    size,
    l1Entries,
    l1Offset: 0,
    refcountTableOffset: clusterSize,
    refcountTableClusters: 1,
    snapshotCount: 0,
    snapshotsOffset: 0,
    incompatible: compression === "zstd" ? INCOMPATIBLE.compression : 0,
    isLazy: options.lazyRefcounts ?? false,
    autoclear: [0, 0],
    refcountOrder,
    headerLength: version === 2 ? HEADER2_BYTES : HEADER_BYTES,
    compression,
    backingFile: options.backingFile,
    backingFormat: options.backingFormat,
    extensions: [],
  };
  const table = featureTable();
  const room = HEADER_BYTES + table.length + 64 + 1024;
  if (version === 3 && room <= clusterSize) header.extensions = [{ type: EXTENSION.features, data: table }];
  // Header, refcount table, first block; a long L1 table needs more blocks, which its allocation adds.
  encodeHeader(file.name, header);
  await file.truncate(0);
  const tableCluster = new Uint8Array(clusterSize);
  writeU64(viewOf(tableCluster), 0, 2 * clusterSize);
  await file.write(clusterSize, [tableCluster, new Uint8Array(clusterSize)]);
  const refcounts = new Refcounts(file, header, new MetadataMap(), 64);
  await refcounts.load();
  for (let cluster = 0; cluster < 3; cluster++) await refcounts.set(cluster, 1);
  if (l1Clusters > 0) header.l1Offset = (await refcounts.allocate(l1Clusters)) * clusterSize;
  await file.truncate(Math.max(file.size, header.l1Offset + l1Clusters * clusterSize));
  await refcounts.write();
  await refcounts.release();
  await refcounts.write();
  await file.flush();
  // The header comes last: until then the file is no image.
  await file.write(0, [encodeHeader(file.name, header)]);
  await file.flush();
}

function featureTable(): Uint8Array {
  const table = new Uint8Array(featureNames.length * 48);
  for (const [index, [type, bit, name]] of featureNames.entries()) {
    table.set([type, bit], index * 48);
    table.set(new TextEncoder().encode(name), index * 48 + 2);
  }
  return table;
}
