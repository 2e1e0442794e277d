/**
 * Makes WebAssembly modules into functions: binds them to the linear memory and to the engine's slow paths and helpers,
 * and keeps the table through which regions are called. The engine's validator checks every module.
 *
 * Only what calls through the table imports it. V8 11 (Node 20) keeps every instance that does for as long as the
 * table lives; a region's instance is given up when the last of its functions has left the table.
 */

import type { LinearMemory } from "../../memory/linear-memory.js";
import type { Bindings } from "../js/bindings.js";
import { ModuleWriter, type Signature } from "./encoder.js";

const WASM_PAGE = 0x10000;
/** Elements by which the table grows. */
const TABLE_STEP = 256;

/** The smallest module: what a platform that forbids compilation refuses. */
const EMPTY_MODULE = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);

/**
 * Whether this platform can run WebAssembly on `memory`: it has it, and lets code be compiled, which a content security
 * policy without `wasm-unsafe-eval` does not.
 */
export function hasWebAssembly(memory: LinearMemory): boolean {
  if (memory.wasm === undefined) return false;
  try {
    new WebAssembly.Module(EMPTY_MODULE);
    return true;
  } catch {
    return false;
  }
}

/** Modules on one linear memory. */
export class WasmRuntime {
  private readonly table: WebAssembly.Table;
  private readonly thunks = new Map<string, unknown>();
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

  /**
   * Compiles a module; gives its exported functions.
   * @throws WebAssembly.CompileError or RangeError if the host refuses: the code, its size, or all compilation
   */
  instantiate(module: ModuleWriter): WebAssembly.Exports {
    this.makeThunks(module.importedFunctions);
    const compiled = new WebAssembly.Module(this.bytesOf(module));
    return this.link(compiled, module, (name) => this.thunks.get(name));
  }

  /** Compiles a module in other threads of the host; gives its exported functions, or rejects as the other throws. */
  async instantiateLater(module: ModuleWriter): Promise<WebAssembly.Exports> {
    const compiled = await WebAssembly.compile(this.bytesOf(module));
    this.makeThunks(module.importedFunctions);
    return this.link(compiled, module, (name) => this.thunks.get(name));
  }

  /**
   * V8 compiles a wrapper for each JavaScript function that a module imports, which costs more than a small module.
   * So the wrappers are made once: modules import WebAssembly functions that call the JavaScript ones.
   */
  private makeThunks(functions: ReadonlyMap<string, Signature>): void {
    const missing = [...functions].filter(([name]) => !this.thunks.has(name));
    if (missing.length === 0) return;
    const module = new ModuleWriter();
    for (const [name, signature] of missing) {
      const { parameters, results } = signature;
      const writer = module.function(name, signature);
      parameters.forEach((_, parameter) => {
        writer.get(parameter);
      });
      writer.call(name, parameters, results);
    }
    const compiled = new WebAssembly.Module(this.bytesOf(module));
    const exports = this.link(compiled, module, (name) =>
      Object.hasOwn(this.bindings, name) ? this.bindings[name] : undefined,
    );
    for (const [name] of missing) this.thunks.set(name, exports[name]!);
  }

  private bytesOf(module: ModuleWriter): BufferSource {
    return module.finish({
      memoryPages: this.memory.buffer.byteLength / WASM_PAGE,
      shared: this.memory.shared,
    }) as BufferSource;
  }

  private link(
    compiled: WebAssembly.Module,
    module: ModuleWriter,
    binding: (name: string) => unknown,
  ): WebAssembly.Exports {
    const imports: Record<string, WebAssembly.ImportValue> = {
      m: this.memory.wasm as WebAssembly.Memory,
      t: this.table,
    };
    for (const name of module.importedFunctions.keys()) {
      imports[name] = binding(name) as WebAssembly.ImportValue;
    }
    return new WebAssembly.Instance(compiled, { e: imports }).exports;
  }

  /**
   * An element of the table for a function: its index.
   * @throws RangeError if the host does not let the table grow
   */
  reserve(): number {
    const index = this.free.pop() ?? this.used;
    if (index < this.used) return index;
    if (index >= this.table.length) this.table.grow(TABLE_STEP);
    this.used++;
    return index;
  }

  /** Puts an exported function into an element, in place of what is there. */
  place(index: number, region: WebAssembly.ExportValue): void {
    this.table.set(index, region);
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
