/** Failures of memory: one line that names what has failed and says what to do. */

/** A VM that the pool has no room for. */
export class MemoryAdmissionError extends Error {
  override readonly name = "MemoryAdmissionError";
  readonly code = "E_MEMORY_ADMISSION";
}

/** A VM that there was no frame for, and nothing to free for one: it can't go on, and the others can. */
export class MemoryShortageError extends Error {
  override readonly name = "MemoryShortageError";
  readonly code = "E_MEMORY_SHORTAGE";

  constructor(vm: string) {
    super(
      `no memory is left for VM ${vm}, and nothing of it or others can be swapped out: give VMs more memory or swap space, or run fewer`,
    );
  }
}

/** A page that has gone out and can't be had back: the VM whose page it is can't go on, and the others can. */
export class SwapError extends Error {
  override readonly name = "SwapError";
  readonly code = "E_SWAP";
}
