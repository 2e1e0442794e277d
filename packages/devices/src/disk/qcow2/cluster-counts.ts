/** How often each cluster of a file is referred to: pages of counts, of which those that are used take memory. */
import { beyondLimit } from "../errors.js";

/** Counts of a page. */
const PAGE = 4096;

/** References by number of cluster. */
export class ClusterCounts {
  private readonly pages = new Map<number, Uint32Array>();

  /** @param limitBytes what the counts may take */
  constructor(
    private readonly image: string,
    private readonly limitBytes: number,
  ) {}

  add(cluster: number, count: number): void {
    const index = Math.floor(cluster / PAGE);
    let page = this.pages.get(index);
    if (page === undefined) {
      if ((this.pages.size + 1) * PAGE * 4 > this.limitBytes) {
        throw beyondLimit(
          this.image,
          "the map of clusters",
          0,
          `would take more than ${this.limitBytes} bytes of memory`,
        );
      }
      page = new Uint32Array(PAGE);
      this.pages.set(index, page);
    }
    page[cluster % PAGE] = Math.min(page[cluster % PAGE]! + count, 0xffffffff);
  }

  get(cluster: number): number {
    return this.pages.get(Math.floor(cluster / PAGE))?.[cluster % PAGE] ?? 0;
  }

  /** Clusters that are referred to, and how often, in order. */
  *entries(): Generator<readonly [cluster: number, count: number]> {
    for (const index of [...this.pages.keys()].sort((a, b) => a - b)) {
      const page = this.pages.get(index)!;
      for (let each = 0; each < PAGE; each++) if (page[each] !== 0) yield [index * PAGE + each, page[each]!];
    }
  }
}
