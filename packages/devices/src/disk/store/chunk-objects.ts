/**
 * Chunks and pages of a store by their digest. As objects they lie under `chunks/`, a byte first that says how they are
 * packed: {@link Packing}. The digest is of the bytes unpacked, so that how they are packed may change; it is checked
 * whenever they are read.
 */
import type { ClusterCodecs } from "../cluster-codec.js";
import { DiskError } from "../errors.js";
import { digestOf, hexOf } from "./manifest.js";
import type { ObjectPlace } from "./object-place.js";

/** How an object's bytes follow its first one. */
const Packing = { plain: 0, zstd: 1 } as const;

/** Where chunks and pages lie. */
export const CHUNKS = "chunks/";

/** The key of what has a digest. */
export const chunkKey = (digest: string): string => `${CHUNKS}${digest.slice(0, 2)}/${digest}`;

/** The digest in a key; undefined if it is another's. */
export const digestInKey = (key: string): string | undefined =>
  /^chunks\/[0-9a-f]{2}\/([0-9a-f]{64})$/.exec(key)?.[1];

/** The chunks of a place. */
export class ChunkObjects {
  constructor(
    private readonly place: ObjectPlace,
    private readonly codecs: ClusterCodecs | undefined,
  ) {}

  /** Adds bytes; gives their digest. They are left alone until this has resolved. */
  async add(bytes: Uint8Array): Promise<Uint8Array> {
    const digest = await digestOf(bytes);
    const key = chunkKey(hexOf(digest));
    if (await this.place.renew(key)) return digest;
    const codec = await this.codecs?.("zstd");
    const packed = await codec?.compress(bytes);
    const object = new Uint8Array(1 + (packed ?? bytes).length);
    object[0] = packed === undefined ? Packing.plain : Packing.zstd;
    object.set(packed ?? bytes, 1);
    await this.place.add(key, object);
    return digest;
  }

  /**
   * Adds the bytes that have a digest from another place, as they are packed there; nothing is read if they are here.
   * @param name of the image there, for errors
   * @returns bytes that were copied
   * @throws DiskError `E_IMAGE_DAMAGED` if they are not there or others
   */
  async copy(from: ChunkObjects, name: string, digest: string, length: number): Promise<number> {
    const key = chunkKey(digest);
    if (await this.place.renew(key)) return 0;
    const { object } = await from.object(name, digest, length);
    await this.place.add(key, object);
    return object.length;
  }

  /**
   * The `length` bytes that have a digest.
   * @param name of the image, for errors
   * @throws DiskError `E_IMAGE_DAMAGED` if they are not there or others
   */
  async read(name: string, digest: string, length: number): Promise<Uint8Array> {
    return (await this.object(name, digest, length)).bytes;
  }

  private async object(
    name: string,
    digest: string,
    length: number,
  ): Promise<{ readonly object: Uint8Array; readonly bytes: Uint8Array }> {
    const key = chunkKey(digest);
    const object = await this.place.read(key, length + 1);
    if (object === undefined) throw this.damaged(name, key, "is not there");
    let bytes: Uint8Array;
    if (object[0] === Packing.plain) bytes = object.subarray(1);
    else if (object[0] === Packing.zstd) bytes = await this.unpack(name, key, object.subarray(1), length);
    else throw this.damaged(name, key, `is packed in an unknown way (${object[0] ?? "it is empty"})`);
    if (bytes.length !== length) throw this.damaged(name, key, `has ${bytes.length} bytes, not ${length}`);
    if (hexOf(await digestOf(bytes)) !== digest)
      throw this.damaged(name, key, "has other bytes than its name says");
    return { object, bytes };
  }

  private async unpack(name: string, key: string, packed: Uint8Array, length: number): Promise<Uint8Array> {
    if (this.codecs === undefined)
      throw new DiskError(
        "E_IMAGE_UNSUPPORTED",
        `${name}: ${key} is packed with zstd, and there is no codec for it`,
      );
    const codec = await this.codecs("zstd");
    try {
      return await codec.decompress(packed, length);
    } catch (error) {
      throw this.damaged(name, key, `can't be unpacked (${error instanceof Error ? error.message : error})`);
    }
  }

  private damaged(name: string, key: string, how: string): DiskError {
    return new DiskError(
      "E_IMAGE_DAMAGED",
      `${name}: the image is damaged: ${key} in ${this.place.name} ${how}; use another copy of the store`,
      { structure: "chunk", how },
    );
  }
}
