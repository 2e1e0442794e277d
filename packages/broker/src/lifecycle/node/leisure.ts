/**
 * What happens when there has been nothing to do for a while: what was kept for the next VM is given back, and then the
 * engine collects what nobody holds any more. It would not do so by itself, since nothing asks for memory at rest.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Milliseconds between giving things back and collecting: threads end meanwhile, and memory that they shared. */
const COLLECT_AFTER_MS = 8000;
/** Times that is collected: what the first one lets go of may hold more. */
const COLLECTIONS = 3;

/** A wait for leisure. */
export class Leisure {
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param afterMs milliseconds of the wait
   * @param rest gives back what can be given back; must not throw
   */
  constructor(
    private readonly afterMs: number,
    private readonly rest: () => void,
  ) {}

  /** There is nothing to do from now on. */
  begin(): void {
    this.timer ??= setTimeout(() => {
      this.rest();
      this.collect(COLLECTIONS);
    }, this.afterMs).unref();
  }

  /** There is something to do. */
  end(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private collect(times: number): void {
    if (times === 0) return;
    this.timer = setTimeout(() => {
      collect();
      this.collect(times - 1);
    }, COLLECT_AFTER_MS).unref();
  }
}

/** Collects garbage in this thread. */
function collect(): void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as (options: object) => void;
  setFlagsFromString("--no-expose-gc");
  gc({ type: "major", execution: "sync", flavor: "last-resort" });
}
