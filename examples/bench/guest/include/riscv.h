/* Access to CSRs, and the change from M-mode to S-mode. */
#ifndef RISCV_H
#define RISCV_H

#include <stdint.h>

#define CSR_READ(csr) ({ uintptr_t value_; __asm__ volatile("csrr %0, " #csr : "=r"(value_)); value_; })
#define CSR_WRITE(csr, value) __asm__ volatile("csrw " #csr ", %0" : : "r"((uintptr_t)(value)) : "memory")

/* Goes on in S-mode on the same stack, with paging off and all exceptions delegated to stvec. */
void enter_supervisor(void);

static inline void flush_page(uintptr_t va) { __asm__ volatile("sfence.vma %0, zero" : : "r"(va) : "memory"); }
static inline void flush_all(void) { __asm__ volatile("sfence.vma" : : : "memory"); }

#endif
