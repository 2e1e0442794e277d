/**
 * The reference library of zstd in WebAssembly. It has one instance in a process, whoever asks: to make it anew while
 * another uses it would mix two memories, and what it gives then is neither's.
 */
let loading: Promise<typeof import("@bokuweb/zstd-wasm")> | undefined;

/** Loads it; once for all that ask, and only when somebody does. */
export function loadZstd(): Promise<typeof import("@bokuweb/zstd-wasm")> {
  loading ??= (async () => {
    const zstd = await import("@bokuweb/zstd-wasm");
    await zstd.init();
    return zstd;
  })();
  return loading;
}
