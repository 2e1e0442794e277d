/**
 * The one linear memory of a VM: hart state, TLBs, decoded code and machine frames at the offsets of `layout.ts`.
 * It is the buffer of a `WebAssembly.Memory` where the platform has it, so that every tier sees the same bytes.
 */

/**
 * What is wrong with a memory: `E_MEMORY_SIZE` for an impossible size, `E_MEMORY_UNAVAILABLE` where the host or a pool has
 * not so much; of its regions `E_REGION_RANGE` for what does not begin and end with a page or lies outside,
 * `E_REGION_OVERLAP` for two at one place, `E_REGION_NAME` for two of one name or one that is none, `E_REGION_KIND` for
 * what is no region, `E_REGION_CONTENTS` for contents that are missing or do not fit.
 */
export type MemoryErrorCode =
  | "E_MEMORY_SIZE"
  | "E_MEMORY_UNAVAILABLE"
  | "E_REGION_RANGE"
  | "E_REGION_OVERLAP"
  | "E_REGION_NAME"
  | "E_REGION_KIND"
  | "E_REGION_CONTENTS";

/** A memory that can't be had: one line that names the thing and the remedy. */
export class MemoryError extends Error {
  override readonly name = "MemoryError";

  constructor(
    readonly code: MemoryErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

const WASM_PAGE = 0x10000;
/** Most bytes of a linear memory: 4 GiB less one WebAssembly page, so that every offset fits 32 bits. */
export const MAXIMUM_BYTES = 0x100000000 - WASM_PAGE;

/** The few members of WebAssembly that are used; absent where the platform lacks it. */
interface WebAssemblyNamespace {
  readonly Memory: new (descriptor: { initial: number; maximum: number; shared?: boolean }) => WasmMemory;
}

/** A `WebAssembly.Memory`. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer;
}

/** Views of a VM's bytes, one for each element type. */
export class LinearMemory {
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
  readonly i16: Int16Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;

  private constructor(
    readonly buffer: ArrayBuffer | SharedArrayBuffer,
    /** The same bytes as WebAssembly modules import them; undefined where the platform has none. */
    readonly wasm: WasmMemory | undefined,
  ) {
    this.i8 = new Int8Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.i16 = new Int16Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f32 = new Float32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  /** The memory that another thread has made with `shared` and sent here as {@link LinearMemory.handle}. */
  static adopt(handle: WasmMemory | SharedArrayBuffer): LinearMemory {
    return "buffer" in handle ? new LinearMemory(handle.buffer, handle) : new LinearMemory(handle, undefined);
  }

  /**
   * What to send to another thread, which makes its views of the same bytes from it.
   * @throws MemoryError `E_MEMORY_UNAVAILABLE` if it is not shared
   */
  get handle(): WasmMemory | SharedArrayBuffer {
    if (!this.shared) throw new MemoryError("E_MEMORY_UNAVAILABLE", "this memory belongs to one thread");
    return this.wasm ?? (this.buffer as SharedArrayBuffer);
  }

  /** Whether several workers may hold it. */
  get shared(): boolean {
    return typeof SharedArrayBuffer !== "undefined" && this.buffer instanceof SharedArrayBuffer;
  }

  /**
   * Makes a zeroed memory of at least `bytes` bytes.
   * @throws MemoryError if the size is impossible or the host refuses it
   */
  static create(options: { readonly bytes: number; readonly shared?: boolean }): LinearMemory {
    const { bytes, shared = false } = options;
    if (!Number.isInteger(bytes) || bytes <= 0 || bytes > MAXIMUM_BYTES) {
      throw new MemoryError(
        "E_MEMORY_SIZE",
        `a linear memory of ${bytes} bytes is impossible: use 1 to ${MAXIMUM_BYTES}`,
      );
    }
    const pages = Math.ceil(bytes / WASM_PAGE);
    const { WebAssembly } = globalThis as { WebAssembly?: WebAssemblyNamespace };
    try {
      if (WebAssembly !== undefined) {
        const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
        return new LinearMemory(memory.buffer, memory);
      }
      return new LinearMemory(
        shared ? new SharedArrayBuffer(pages * WASM_PAGE) : new ArrayBuffer(pages * WASM_PAGE),
        undefined,
      );
    } catch (cause) {
      const mebibytes = Math.ceil(bytes / 0x100000);
      throw new MemoryError(
        "E_MEMORY_UNAVAILABLE",
        `the host has no ${mebibytes} MiB for the VM: give it less memory`,
        {
          cause,
        },
      );
    }
  }
}
