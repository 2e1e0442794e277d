/**
 * When what was written is durable. `writeback`: when the guest has flushed it, or at once if the guest asks for that.
 * `writethrough`: when its write completes. `unsafe`: some time; flushes do nothing.
 */
export type BlockCacheMode = "writeback" | "writethrough" | "unsafe";
/** The modes by name. */
export const blockCacheModes: readonly BlockCacheMode[] = ["writeback", "writethrough", "unsafe"];
