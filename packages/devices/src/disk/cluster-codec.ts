/** Compression of single clusters: hosts bring what they have. */

/** The ways in which qcow2 compresses a cluster (compression_type of its header). */
export type CompressionType = "zlib" | "zstd";

/** Compresses and decompresses clusters. */
export interface ClusterCodec {
  /** A whole cluster, smaller; undefined if it does not get smaller. */
  compress(cluster: Uint8Array): Promise<Uint8Array | undefined>;
  /**
   * The cluster that `bytes` begin with; what follows it is not looked at. Never more than `length` bytes are made.
   * @throws if there are not exactly `length` bytes
   */
  decompress(bytes: Uint8Array, length: number): Promise<Uint8Array>;
}

/** The codecs that a host has. */
export type ClusterCodecs = (type: CompressionType) => Promise<ClusterCodec>;
