/* Text from the kernel itself. */
#include "kernel.h"

static void put(void *context, char c) {
  (void)context;
  console_put(c);
}

void kprintf(const char *text, ...) {
  va_list arguments;
  va_start(arguments, text);
  format(put, 0, text, arguments);
  va_end(arguments);
}

void panic(const char *text, ...) {
  va_list arguments;
  va_start(arguments, text);
  kprintf("guest: panic: ");
  format(put, 0, text, arguments);
  kprintf("\n");
  va_end(arguments);
  power(false, 1);
  for (;;) __asm__ volatile("wfi");
}
