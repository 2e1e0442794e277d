/*
 * Calls into firmware (RISC-V SBI specification 2.0). The legacy extensions (chapter 5) stand in where firmware
 * lacks their replacements: OpenSBI before 1.3 has no debug console.
 */
#include "kernel.h"

#define EXTENSION_BASE 0x10
#define EXTENSION_TIME 0x54494d45
#define EXTENSION_RESET 0x53525354
#define EXTENSION_CONSOLE 0x4442434e
#define LEGACY_SET_TIMER 0
#define LEGACY_PUT 1
#define LEGACY_GET 2
#define LEGACY_SHUTDOWN 8

struct sbi_result {
  long error;
  long value;
};

unsigned sbi_version, sbi_implementation;
static bool has_time, has_reset, has_console;

static struct sbi_result call(long extension, long function, unsigned long x, unsigned long y, unsigned long z) {
  register unsigned long a0 __asm__("a0") = x;
  register unsigned long a1 __asm__("a1") = y;
  register unsigned long a2 __asm__("a2") = z;
  register long a6 __asm__("a6") = function;
  register long a7 __asm__("a7") = extension;
  __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
  return (struct sbi_result){(long)a0, (long)a1};
}

static bool probe(long extension) {
  struct sbi_result result = call(EXTENSION_BASE, 3, (unsigned long)extension, 0, 0);
  return result.error == 0 && result.value != 0;
}

void sbi_init(void) {
  struct sbi_result version = call(EXTENSION_BASE, 0, 0, 0, 0);
  if (version.error != 0) return;
  sbi_version = (unsigned)version.value;
  sbi_implementation = (unsigned)call(EXTENSION_BASE, 1, 0, 0, 0).value;
  has_time = probe(EXTENSION_TIME);
  has_reset = probe(EXTENSION_RESET);
  has_console = probe(EXTENSION_CONSOLE);
}

void sbi_set_timer(uint64_t deadline) {
  unsigned long low = (unsigned long)deadline;
  unsigned long high = sizeof(long) == 4 ? (unsigned long)(deadline >> 32) : 0;
  if (has_time) call(EXTENSION_TIME, 0, low, high, 0);
  else call(LEGACY_SET_TIMER, 0, low, high, 0);
}

void sbi_put(char c) {
  if (has_console) call(EXTENSION_CONSOLE, 2, (unsigned char)c, 0, 0);
  else call(LEGACY_PUT, 0, (unsigned char)c, 0, 0);
}

int sbi_get(void) {
  if (!has_console) return (int)call(LEGACY_GET, 0, 0, 0, 0).error;
  static char byte;
  struct sbi_result result = call(EXTENSION_CONSOLE, 1, 1, (unsigned long)&byte, 0);
  return result.error == 0 && result.value == 1 ? (unsigned char)*(volatile char *)&byte : -1;
}

void sbi_reset(bool reboot) {
  if (has_reset) call(EXTENSION_RESET, 0, reboot ? 1 : 0, 0, 0);
  if (!reboot) call(LEGACY_SHUTDOWN, 0, 0, 0, 0);
}
