/** Accesses of a hart that the bus answers. */
import type { CallSite, CallSites } from "./call-sites.js";
import { AccessKind } from "./ports.js";
import type { MemoryAccessOptions, Resolver } from "./resolver.js";

/** A hart's way to devices: to the guest-physical address that its resolver has found. */
export class DeviceAccess {
  private readonly words: Int32Array;
  /** What a device answers to an access of 8 bytes. */
  private readonly wideWords = new Uint32Array(2);

  /** @param highWord word index of the high half of what is read */
  constructor(
    private readonly options: MemoryAccessOptions,
    private readonly sites: CallSites,
    private readonly resolver: Resolver,
    private readonly highWord: number,
  ) {
    this.words = options.memory.i32;
  }

  /** What the device at `gpa` answers, its high half in the header; undefined after raising a fault. */
  ask(lo: number, hi: number, size: 1 | 2 | 4 | 8, site: CallSite): number | undefined {
    const { bus, translator } = this.options;
    this.resolver.counters.mmioReads++;
    const { gpa } = this.resolver;
    this.sites.suspend(site);
    let low: number | undefined;
    let high: number | undefined = 0;
    if (size === 8) {
      const { wideWords } = this;
      if (bus.readWide?.(gpa, wideWords) === true) {
        low = wideWords[0]!;
        high = wideWords[1]!;
      } else {
        low = bus.read(gpa, 4);
        high = bus.read(gpa + 4, 4);
      }
    } else low = bus.read(gpa, size);
    if (low === undefined || high === undefined) {
      translator.accessFault(AccessKind.read, lo, hi);
      return undefined;
    }
    this.sites.resume(site);
    this.words[this.highWord] = high | 0;
    return low | 0;
  }

  /** Writes to the device at `gpa`; false after raising a fault. */
  tell(lo: number, hi: number, size: 1 | 2 | 4 | 8, low: number, high: number, site: CallSite): boolean {
    const { bus, translator } = this.options;
    this.resolver.counters.mmioWrites++;
    const { gpa } = this.resolver;
    const mask = size === 1 ? 0xff : size === 2 ? 0xffff : -1;
    this.sites.suspend(site);
    const done =
      size === 8
        ? bus.writeWide?.(gpa, low >>> 0, high >>> 0) === true ||
          (bus.write(gpa, 4, low >>> 0) && bus.write(gpa + 4, 4, high >>> 0))
        : bus.write(gpa, size, (low & mask) >>> 0);
    if (!done) {
      translator.accessFault(AccessKind.write, lo, hi);
      return false;
    }
    this.sites.resume(site);
    return true;
  }
}
