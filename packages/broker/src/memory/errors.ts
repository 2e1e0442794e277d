/** Requests for memory that can't be granted: one line that names the VM and says what to do. */

/** A VM that the pool has no room for. */
export class MemoryAdmissionError extends Error {
  override readonly name = "MemoryAdmissionError";
  readonly code = "E_MEMORY_ADMISSION";
}
