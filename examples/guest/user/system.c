/* System calls and the little that every program needs around them. */
#include "user.h"

static long call(unsigned long number, unsigned long x, unsigned long y, unsigned long z) {
  register unsigned long a0 __asm__("a0") = x;
  register unsigned long a1 __asm__("a1") = y;
  register unsigned long a2 __asm__("a2") = z;
  register unsigned long a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return (long)a0;
}

void exit(int status) {
  call(SYS_EXIT, (unsigned long)status, 0, 0);
  __builtin_unreachable();
}

long write(int fd, const void *from, size_t bytes) {
  return call(SYS_WRITE, (unsigned long)fd, (uintptr_t)from, bytes);
}

long read(int fd, void *to, size_t bytes) {
  return call(SYS_READ, (unsigned long)fd, (uintptr_t)to, bytes);
}

int fork(void) {
  return (int)call(SYS_FORK, 0, 0, 0);
}

int wait(int pid, int *status, unsigned flags) {
  return (int)call(SYS_WAIT, (unsigned long)pid, (uintptr_t)status, flags);
}

void yield(void) {
  call(SYS_YIELD, 0, 0, 0);
}

void sleep(unsigned milliseconds) {
  call(SYS_SLEEP, milliseconds, 0, 0);
}

uint64_t ticks(void) {
  uint64_t now = 0;
  call(SYS_TIME, (uintptr_t)&now, 0, 0);
  return now;
}

void *grow(long bytes) {
  long old = call(SYS_SBRK, (unsigned long)bytes, 0, 0);
  return old < 0 ? 0 : (void *)old;
}

int kill(int pid) {
  return (int)call(SYS_KILL, (unsigned long)pid, 0, 0);
}

int getpid(void) {
  return (int)call(SYS_GETPID, 0, 0, 0);
}

int protect(void *address, size_t bytes, unsigned flags) {
  return (int)call(SYS_PROTECT, (uintptr_t)address, bytes, flags);
}

void get_system(struct system_info *info) {
  call(SYS_SYSTEM, (uintptr_t)info, 0, 0);
}

int get_process(unsigned slot, struct process_info *info) {
  return (int)call(SYS_PROCESS, slot, (uintptr_t)info, 0);
}

void set_foreground(int pid) {
  call(SYS_FOREGROUND, (unsigned long)pid, 0, 0);
}

void set_name(const char *name) {
  call(SYS_NAME, (uintptr_t)name, 0, 0);
}

int power(unsigned action, unsigned status) {
  return (int)call(SYS_POWER, action, status, 0);
}

const char *error_text(int error) {
  switch (-error) {
    case ERROR_PERMISSION:
      return "not permitted";
    case ERROR_SEARCH:
      return "no such process";
    case ERROR_MEMORY:
      return "out of memory or processes";
    case ERROR_INVALID:
      return "invalid argument";
    case ERROR_DEVICE:
      return "the platform has no device for this";
    default:
      return "failed";
  }
}

/* Output gathers in a buffer that a line's end or its size empties: one system call a line, not a character. */
struct output {
  char bytes[128];
  size_t count;
};

static void flush(struct output *output) {
  write(1, output->bytes, output->count);
  output->count = 0;
}

static void put(void *context, char c) {
  struct output *output = context;
  output->bytes[output->count++] = c;
  if (c == '\n' || output->count == sizeof output->bytes) flush(output);
}

void printf(const char *text, ...) {
  struct output output;
  output.count = 0;
  va_list arguments;
  va_start(arguments, text);
  format(put, &output, text, arguments);
  va_end(arguments);
  if (output.count > 0) flush(&output);
}

bool parse_number(const char *text, unsigned long *value) {
  unsigned base = 10;
  if (text[0] == '0' && text[1] == 'x') {
    base = 16;
    text += 2;
  }
  *value = 0;
  if (*text == 0) return false;
  for (; *text != 0; text++) {
    unsigned digit = *text >= '0' && *text <= '9' ? (unsigned)(*text - '0')
                   : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a' + 10)
                                                  : 16;
    if (digit >= base || *value > (~0ul - digit) / base) return false;
    *value = *value * base + digit;
  }
  return true;
}
