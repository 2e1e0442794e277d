/**
 * Which clusters of a file hold metadata, so that no write of data and no allocation ever lands on one, whatever a damaged
 * table says. Sorted numbers of what was there at the start, and a set of what has come since.
 */

/** Clusters of metadata by number. */
export class MetadataMap {
  private first: Float64Array = new Float64Array();
  private readonly added = new Set<number>();
  private readonly removed = new Set<number>();

  /** Takes what is there at the start. */
  start(clusters: Float64Array): void {
    this.first = clusters.sort();
  }

  add(cluster: number, count = 1): void {
    for (let each = cluster; each < cluster + count; each++) {
      this.added.add(each);
      this.removed.delete(each);
    }
  }

  delete(cluster: number, count = 1): void {
    for (let each = cluster; each < cluster + count; each++) {
      this.added.delete(each);
      this.removed.add(each);
    }
  }

  has(cluster: number): boolean {
    if (this.added.has(cluster)) return true;
    if (this.removed.has(cluster)) return false;
    let [low, high] = [0, this.first.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.first[middle]! < cluster) low = middle + 1;
      else high = middle;
    }
    return this.first[low] === cluster;
  }
}
