/* QEMU's virt board: 16550 UART and SiFive test finisher. Works in M-mode and, identity-mapped, in S-mode. */
#include "bench.h"
#include "riscv.h"

#define UART ((volatile uint8_t *)0x10000000)
#define UART_LSR 5
#define UART_LSR_THRE 0x20
#define FINISHER ((volatile uint32_t *)0x100000)
#define FINISHER_PASS 0x5555
#define FINISHER_FAIL 0x3333

void put_character(char character) {
  while (!(UART[UART_LSR] & UART_LSR_THRE)) {}
  UART[0] = (uint8_t)character;
}

_Noreturn void finish(uint32_t status) {
  *FINISHER = status == 0 ? FINISHER_PASS : status << 16 | FINISHER_FAIL;
  for (;;) {}
}

/* Where a trap goes that no program asked for. */
_Noreturn void unexpected_trap(uintptr_t cause, uintptr_t pc, uintptr_t value) {
  print_text("trap: cause ");
  print_hex((uint32_t)cause);
  print_text(" pc ");
  print_hex((uint32_t)pc);
  print_text(" value ");
  print_hex((uint32_t)value);
  print_text("\n");
  fail("unexpected trap");
}
