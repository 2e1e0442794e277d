/* Bytes and texts; the compiler calls the first four by itself. */
#include "text.h"

void *memcpy(void *to, const void *from, size_t bytes) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if ((((uintptr_t)out ^ (uintptr_t)in) & 7) == 0) {
    for (; bytes > 0 && ((uintptr_t)out & 7) != 0; bytes--) *out++ = *in++;
    for (; bytes >= 8; bytes -= 8, out += 8, in += 8) *(uint64_t *)out = *(const uint64_t *)in;
  }
  while (bytes-- > 0) *out++ = *in++;
  return to;
}

void *memmove(void *to, const void *from, size_t bytes) {
  unsigned char *out = to;
  const unsigned char *in = from;
  if (out <= in) return memcpy(to, from, bytes);
  while (bytes-- > 0) out[bytes] = in[bytes];
  return to;
}

void *memset(void *to, int value, size_t bytes) {
  unsigned char *out = to;
  while (bytes-- > 0) *out++ = (unsigned char)value;
  return to;
}

int memcmp(const void *one, const void *other, size_t bytes) {
  const unsigned char *x = one, *y = other;
  for (; bytes > 0; bytes--, x++, y++)
    if (*x != *y) return *x - *y;
  return 0;
}

size_t strlen(const char *text) {
  return (size_t)(find(text, 0) - text);
}

bool is_same(const char *one, const char *other) {
  while (*one != 0 && *one == *other) one++, other++;
  return *one == *other;
}

bool starts_with(const char *text, const char *start) {
  while (*start != 0)
    if (*text++ != *start++) return false;
  return true;
}

const char *find(const char *text, char c) {
  while (*text != 0 && *text != c) text++;
  return text;
}

const char *base_name(const char *path) {
  const char *base = path;
  for (; *path != 0; path++)
    if (*path == '/') base = path + 1;
  return base;
}

bool parse_u32(const char *text, const char *end, uint32_t *value) {
  uint64_t sum = 0;
  if (text == end || end - text > 10) return false;
  for (; text < end; text++) {
    if (*text < '0' || *text > '9') return false;
    sum = sum * 10 + (uint64_t)(*text - '0');
  }
  *value = (uint32_t)sum;
  return sum <= UINT32_MAX;
}

size_t append(char *to, size_t length, size_t size, const char *text) {
  while (*text != 0 && length + 1 < size) to[length++] = *text++;
  to[length] = 0;
  return length;
}
