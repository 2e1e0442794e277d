/* Bytes and texts. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *one, const void *other, size_t bytes);
size_t strlen(const char *text);
bool is_same(const char *one, const char *other);
bool starts_with(const char *text, const char *start);
/* The first place of a character in a text, or where the text ends. */
const char *find(const char *text, char c);
/* The place after the last slash of a path. */
const char *base_name(const char *path);
/* A decimal number up to `end`; false for anything else, and beyond 32 bits. */
bool parse_u32(const char *text, const char *end, uint32_t *value);
/* Appends a text to one in a buffer of `size` bytes; what has no room is left out. Gives the new length. */
size_t append(char *to, size_t length, size_t size, const char *text);

static inline uint32_t get_u32(const void *from) {
  uint32_t value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
static inline uint64_t get_u64(const void *from) {
  uint64_t value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
static inline uint16_t get_u16(const void *from) {
  uint16_t value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
static inline void put_u32(void *to, uint32_t value) {
  __builtin_memcpy(to, &value, sizeof value);
}
static inline void put_u64(void *to, uint64_t value) {
  __builtin_memcpy(to, &value, sizeof value);
}

#endif
