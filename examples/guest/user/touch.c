/* touch: fills memory with words that depend on their address, then reads all of it back. */
#include "user.h"

static unsigned long pattern(const unsigned long *at) {
  return (uintptr_t)at * 0x9e3779b1ul ^ 0x5bd1e995ul;
}

int touch_command(int argc, char **argv) {
  unsigned long kib;
  if (argc != 2 || !parse_number(argv[1], &kib) || kib == 0 || kib > 1024 * 1024) return usage(argv[0]);
  unsigned long *start = grow((long)(kib * 1024));
  if (start == 0) {
    printf("touch: %lu KiB are more than there is\n", kib);
    return 1;
  }
  unsigned long *end = start + kib * 1024 / sizeof *start;
  for (unsigned long *at = start; at < end; at++) *at = pattern(at);
  unsigned long wrong = 0;
  for (unsigned long *at = start; at < end; at++) wrong += *at != pattern(at);
  printf("touch: %lu KiB, %lu wrong words, %s\n", kib, wrong, wrong == 0 ? "ok" : "WRONG");
  grow(-(long)(kib * 1024));
  return wrong == 0 ? 0 : 1;
}
