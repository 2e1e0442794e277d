/* The platform-level interrupt controller (RISC-V PLIC specification 1.0), the boot hart's S-mode context only. */
#include "kernel.h"

#define PRIORITY(interrupt) (4 * (interrupt))
#define ENABLE(context, interrupt) (0x2000 + 0x80 * (context) + 4 * ((interrupt) / 32))
#define THRESHOLD(context) (0x200000 + 0x1000 * (context))
#define CLAIM(context) (0x200004 + 0x1000 * (context))

static volatile uint32_t *reg(uint32_t offset) {
  return (volatile uint32_t *)(machine.plic.start + offset);
}

void plic_init(void) {
  if (machine.plic.start == 0) return;
  *reg(THRESHOLD(machine.plic_context)) = 0;
  set_csr(sie, INTERRUPT_EXTERNAL);
}

void plic_enable(unsigned interrupt) {
  *reg(PRIORITY(interrupt)) = 1;
  *reg(ENABLE(machine.plic_context, interrupt)) |= 1u << (interrupt % 32);
}

unsigned plic_claim(void) {
  return *reg(CLAIM(machine.plic_context));
}

void plic_complete(unsigned interrupt) {
  *reg(CLAIM(machine.plic_context)) = interrupt;
}
