/**
 * Makes WebAssembly modules into functions: binds them to the linear memory and to the engine's slow paths and helpers,
 * and keeps the table through which regions are called. The engine's validator checks every module.
 *
 * Only what calls through the table imports it. V8 11 (Node 20) keeps every instance that does for as long as the
 * table lives; a region's instance is given up when the last of its functions has left the table.
 */

import type { LinearMemory } from "../../memory/linear-memory.js";
import type { Bindings } from "../js/bindings.js";
import { type AccessContext, writeCheckedAccess } from "./checked-access.js";
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

/** Imports that have no names but their own: `toString` must be missing where it is not given. */
const bare = (imports: Record<string, WebAssembly.ImportValue>): Record<string, WebAssembly.ImportValue> =>
  Object.assign(Object.create(null), imports);

/** Modules on one linear memory. */
export class WasmRuntime {
  private readonly table: WebAssembly.Table;
  /** What modules import: the memory, the table, and a thunk for each function that one of them has asked for. */
  private readonly imports: Record<string, WebAssembly.ImportValue>;
  private readonly free: number[] = [];
  private used = 0;

  /**
   * @param memory one that was made where there is WebAssembly
   * @param bindings the functions that modules may import, by name
   * @param access what the functions of `checked-access.ts` depend on, for modules that import them
   */
  constructor(
    private readonly memory: LinearMemory,
    private readonly bindings: Bindings,
    private readonly access?: AccessContext,
  ) {
    this.table = new WebAssembly.Table({ element: "anyfunc", initial: TABLE_STEP });
    this.imports = bare({ m: memory.wasm as WebAssembly.Memory, t: this.table });
  }

  /**
   * Compiles a module; gives its exported functions.
   * @throws WebAssembly.CompileError or RangeError if the host refuses: the code, its size, or all compilation
   */
  instantiate(module: ModuleWriter): WebAssembly.Exports {
    this.makeThunks(module.importedFunctions);
    const compiled = new WebAssembly.Module(this.bytesOf(module));
    return new WebAssembly.Instance(compiled, { e: this.imports }).exports;
  }

  /** Compiles a module in other threads of the host; gives its exported functions, or rejects as the other throws. */
  async instantiateLater(module: ModuleWriter): Promise<WebAssembly.Exports> {
    const compiled = await WebAssembly.compile(this.bytesOf(module));
    this.makeThunks(module.importedFunctions);
    return new WebAssembly.Instance(compiled, { e: this.imports }).exports;
  }

  /**
   * V8 compiles a wrapper for each JavaScript function that a module imports, which costs more than a small module.
   * So the wrappers are made once: modules import WebAssembly functions that call the JavaScript ones, and checked
   * accesses, which call them where the TLB does not know an address.
   */
  private makeThunks(functions: ReadonlyMap<string, Signature>): void {
    const missing = [...functions].filter(([name]) => !Object.hasOwn(this.imports, name));
    if (missing.length === 0) return;
    const module = new ModuleWriter();
    const imports = bare({ m: this.imports.m! });
    for (const [name, signature] of missing) {
      const { parameters, results } = signature;
      const writer = module.function(name, signature);
      if (this.access !== undefined && writeCheckedAccess(name, writer, this.access)) continue;
      parameters.forEach((_, parameter) => {
        writer.get(parameter);
      });
      writer.call(name, parameters, results);
    }
    for (const name of module.importedFunctions.keys())
      if (Object.hasOwn(this.bindings, name))
        imports[name] = this.bindings[name] as unknown as WebAssembly.ImportValue;
    const compiled = new WebAssembly.Module(this.bytesOf(module));
    const { exports } = new WebAssembly.Instance(compiled, { e: imports });
    for (const [name] of missing) this.imports[name] = exports[name]!;
  }

  private bytesOf(module: ModuleWriter): BufferSource {
    return module.finish({
      memoryPages: this.memory.buffer.byteLength / WASM_PAGE,
      shared: this.memory.shared,
    }) as BufferSource;
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
