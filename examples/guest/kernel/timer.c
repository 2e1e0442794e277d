/*
 * The timer. With the Sstc extension the kernel writes stimecmp itself; otherwise each deadline is a call into
 * firmware. Either way the pending interrupt goes away when a later deadline is set.
 */
#include "kernel.h"

static uint64_t started_at;

void timer_init(void) {
  started_at = timer_now();
  timer_arm(UINT64_MAX);
  set_csr(sie, INTERRUPT_TIMER);
}

const char *timer_name(void) {
  return machine.sstc ? "stimecmp" : "sbi";
}

uint64_t timer_now(void) {
#if __riscv_xlen == 64
  return read_csr(time);
#else
  unsigned long high, low;
  do {
    high = read_csr(timeh);
    low = read_csr(time);
  } while (high != read_csr(timeh));
  return (uint64_t)high << 32 | low;
#endif
}

uint64_t timer_uptime(void) {
  return timer_now() - started_at;
}

uint64_t timer_ticks(unsigned milliseconds) {
  return (uint64_t)machine.timebase * milliseconds / 1000;
}

/* stimecmp and stimecmph by number: assemblers before Sstc do not know the names. */
void timer_arm(uint64_t deadline) {
  if (!machine.sstc) {
    sbi_set_timer(deadline);
    return;
  }
#if __riscv_xlen == 64
  write_csr(0x14d, deadline);
#else
  /* Never below the deadline in between, so that no early interrupt appears. */
  write_csr(0x14d, ~0ul);
  write_csr(0x15d, deadline >> 32);
  write_csr(0x14d, deadline);
#endif
}
