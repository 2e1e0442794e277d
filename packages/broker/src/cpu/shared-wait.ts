/** Waiting for a word of shared memory to change, without blocking the thread where the platform can do that. */

/** `Atomics.waitAsync` (ECMAScript 2024), which not every platform has. */
type WaitAsync = (
  words: Int32Array,
  at: number,
  value: number,
  timeout?: number,
) => { readonly async: boolean; readonly value: string | Promise<string> };
const waitAsync = (Atomics as unknown as { readonly waitAsync?: WaitAsync }).waitAsync;

/** Longest wait without another look, in milliseconds: a guard, not a period. */
const LONGEST_WAIT = 1000;
/** Wait in milliseconds between two looks where the platform can't wait without blocking. */
const POLL = 2;

/** Resolves when a word is other than `value`, and whoever changed it has notified it; or after a while. */
export async function untilChanged(words: Int32Array, at: number, value: number): Promise<void> {
  if (waitAsync === undefined) {
    Atomics.wait(words, at, value, POLL);
    await new Promise((resolve) => setTimeout(resolve, 0));
    return;
  }
  const result = waitAsync(words, at, value, LONGEST_WAIT);
  if (result.async) await result.value;
}
