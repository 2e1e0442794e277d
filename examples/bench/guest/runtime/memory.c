/* The memory functions that the compiler calls for copies and clears of its own. */
#include "bench.h"

typedef uintptr_t word __attribute__((may_alias));

void *memcpy(void *to, const void *from, size_t bytes) {
  char *target = to;
  const char *source = from;
  if ((((uintptr_t)target | (uintptr_t)source) & (sizeof(word) - 1)) == 0) {
    for (; bytes >= sizeof(word); bytes -= sizeof(word)) {
      *(word *)target = *(const word *)source;
      target += sizeof(word);
      source += sizeof(word);
    }
  }
  while (bytes-- > 0) *target++ = *source++;
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  char *target = to;
  while (bytes-- > 0) *target++ = (char)value;
  return to;
}

int memcmp(const void *a, const void *b, size_t bytes) {
  const unsigned char *left = a, *right = b;
  for (size_t at = 0; at < bytes; at++) {
    if (left[at] != right[at]) return left[at] - right[at];
  }
  return 0;
}
