/**
 * What can be dumped, by name (after QEMU's `-d`):
 *
 * - `insn`: guest assembly of each block when it is translated
 * - `ir`, `opt`: its IR, before and after the passes
 * - `emit`: the JavaScript or WebAssembly made of it
 * - `exit`: each return to the dispatcher, with the reason and the program counter
 * - `mmu`: each page that enters a TLB
 * - `irq`: exceptions and interrupts
 */
export const dumpKinds = ["insn", "ir", "opt", "emit", "exit", "mmu", "irq"] as const;
/** One of them. */
export type DumpKind = (typeof dumpKinds)[number];
