/** jsnes as it is, but for the CPU that its consoles get. */
import type { Tier } from "@hyperfile/jit";
import type { NESOptions } from "jsnes";
import { JsnesConsole } from "./jsnes.js";
import { TranslatedCore, TranslatedCpu } from "./translated-cpu.js";

/** A console whose CPU is translated. Takes the options of jsnes's `NES`, and a tier. */
export class TranslatedNes extends JsnesConsole {
  private readonly core: TranslatedCore;

  constructor({ tier, ...options }: NESOptions & { readonly tier?: Tier } = {}) {
    super(options);
    this.core = new TranslatedCore(tier);
  }

  /** As at power-on. jsnes calls this when a cartridge is inserted. */
  override reset(): void {
    super.reset();
    this.cpu = new TranslatedCpu(this, this.core);
    this.cpu.ppu = this.ppu;
    this.cpu.papu = this.papu;
    if (this.mmap !== null) this.cpu._updatePrgReadPath();
  }
}
