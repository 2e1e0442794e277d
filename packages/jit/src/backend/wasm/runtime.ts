/**
 * Makes WebAssembly modules into functions: binds them to the linear memory, to the table through which regions are
 * called, and to the engine's slow paths and helpers. The engine's validator checks every module.
 */

import type { LinearMemory } from "../../memory/linear-memory.js";
import type { Bindings } from "../js/bindings.js";
import type { ModuleWriter } from "./encoder.js";

const WASM_PAGE = 0x10000;
/** Elements by which the table grows. */
const TABLE_STEP = 256;

/** Whether this platform can run WebAssembly on `memory`. */
export const hasWebAssembly = (memory: LinearMemory): boolean => memory.wasm !== undefined;

/** Modules on one linear memory. */
export class WasmRuntime {
  private readonly table: WebAssembly.Table;
  private readonly free: number[] = [];
  private used = 0;

  /**
   * @param memory one that was made where there is WebAssembly
   * @param bindings the functions that modules may import, by name
   */
  constructor(
    private readonly memory: LinearMemory,
    private readonly bindings: Bindings,
  ) {
    this.table = new WebAssembly.Table({ element: "anyfunc", initial: TABLE_STEP });
  }

  /** Compiles a module; gives its exported functions. */
  instantiate(module: ModuleWriter): WebAssembly.Exports {
    const bytes = module.finish({
      memoryPages: this.memory.buffer.byteLength / WASM_PAGE,
      shared: this.memory.shared,
      table: true,
    });
    const imports: Record<string, WebAssembly.ImportValue> = {
      m: this.memory.wasm as WebAssembly.Memory,
      t: this.table,
    };
    for (const name of module.importedFunctions) {
      imports[name] = this.bindings[name] as (...args: number[]) => number;
    }
    const compiled = new WebAssembly.Module(bytes as BufferSource);
    return new WebAssembly.Instance(compiled, { e: imports }).exports;
  }

  /** Puts a function into the table; gives its element's number. */
  add(code: unknown): number {
    const index = this.free.pop() ?? this.used++;
    if (index >= this.table.length) this.table.grow(TABLE_STEP);
    this.table.set(index, code as () => void);
    return index;
  }

  /** Empties an element, which may be given out again. */
  remove(index: number): void {
    this.table.set(index, null);
    this.free.push(index);
  }

  /** Elements in use. */
  get size(): number {
    return this.used - this.free.length;
  }
}
