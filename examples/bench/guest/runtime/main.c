/* Runs the program's kernel and prints one line: its name, iterations and checksum. */
#include "bench.h"

void print_text(const char *text) {
  while (*text) put_character(*text++);
}

void print_hex(uint32_t value) {
  for (int shift = 28; shift >= 0; shift -= 4) put_character("0123456789abcdef"[(value >> shift) & 15]);
}

void print_decimal(uint32_t value) {
  if (value >= 10) print_decimal(value / 10);
  put_character((char)('0' + value % 10));
}

_Noreturn void fail(const char *message) {
  print_text(program_name);
  print_text(": ");
  print_text(message);
  print_text("\n");
  finish(1);
}

_Noreturn void run_program(void) {
  /* Volatile, since the image may have been changed after it was built. */
  uint32_t iterations = *(volatile uint32_t *)&parameters.iterations;
  uint32_t checksum = kernel(iterations);
  print_text(program_name);
  print_text(" iterations=");
  print_decimal(iterations);
  print_text(" checksum=");
  print_hex(checksum);
  print_text("\n");
  finish(0);
}
