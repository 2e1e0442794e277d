/* Memory and text primitives. The compiler calls the mem* functions by itself, so they must exist under these names. */
#include "lib.h"

/* Copies words where both sides are aligned: page copies are the bulk of what the kernel moves. */
void *memcpy(void *to, const void *from, size_t bytes) {
  unsigned char *target = to;
  const unsigned char *source = from;
  if ((((uintptr_t)target | (uintptr_t)source) & (sizeof(long) - 1)) == 0) {
    for (; bytes >= 4 * sizeof(long); bytes -= 4 * sizeof(long)) {
      const unsigned long *word = (const unsigned long *)source;
      unsigned long a = word[0], b = word[1], c = word[2], d = word[3];
      unsigned long *out = (unsigned long *)target;
      out[0] = a;
      out[1] = b;
      out[2] = c;
      out[3] = d;
      target += 4 * sizeof(long);
      source += 4 * sizeof(long);
    }
  }
  while (bytes-- > 0) *target++ = *source++;
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  unsigned char *target = to;
  const unsigned char *source = from;
  if (target <= source || target >= source + bytes) return memcpy(to, from, bytes);
  while (bytes-- > 0) target[bytes] = source[bytes];
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  unsigned char *target = to;
  if (((uintptr_t)target & (sizeof(long) - 1)) == 0) {
    unsigned long word = (unsigned char)value * (~0ul / 255);
    for (; bytes >= 4 * sizeof(long); bytes -= 4 * sizeof(long)) {
      unsigned long *out = (unsigned long *)target;
      out[0] = word;
      out[1] = word;
      out[2] = word;
      out[3] = word;
      target += 4 * sizeof(long);
    }
  }
  while (bytes-- > 0) *target++ = (unsigned char)value;
  return to;
}

int memcmp(const void *left, const void *right, size_t bytes) {
  const unsigned char *a = left, *b = right;
  for (; bytes > 0; bytes--, a++, b++) {
    if (*a != *b) return *a - *b;
  }
  return 0;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

int strcmp(const char *left, const char *right) {
  while (*left != 0 && *left == *right) left++, right++;
  return (unsigned char)*left - (unsigned char)*right;
}

void copy_text(char *to, const char *from, size_t size) {
  size_t length = strlen(from);
  if (length > size - 1) length = size - 1;
  memcpy(to, from, length);
  to[length] = 0;
}
