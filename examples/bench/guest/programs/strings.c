/* Text and memory: copies at every alignment, lengths, comparisons, searches, and splitting into words. */
#include "bench.h"

PROGRAM("strings", 2500);

#define TEXT 8192

static char text[TEXT + 64], copy[TEXT + 64];

/* Not inlined, since a library's functions are not. */
#define LIBRARY __attribute__((noinline)) static

LIBRARY size_t length_of(const char *string) {
  const char *at = string;
  while (*at) at++;
  return (size_t)(at - string);
}

LIBRARY int compare(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return (unsigned char)*a - (unsigned char)*b;
}

LIBRARY const char *find(const char *haystack, const char *needle, size_t length) {
  for (; *haystack; haystack++) {
    size_t at = 0;
    while (at < length && haystack[at] == needle[at]) at++;
    if (at == length) return haystack;
  }
  return 0;
}

LIBRARY void move(char *to, const char *from, size_t bytes) {
  if (to <= from) {
    while (bytes-- > 0) *to++ = *from++;
  } else {
    while (bytes-- > 0) to[bytes] = from[bytes];
  }
}

LIBRARY uint32_t words(char *string) {
  uint32_t count = 0, sum = 0;
  for (char *at = string; *at;) {
    while (*at == ' ') at++;
    uint32_t word = 0;
    for (; *at && *at != ' '; at++) {
      if (*at >= 'a' && *at <= 'z') *at -= 'a' - 'A';
      word = word * 33 + (uint32_t)*at;
    }
    sum ^= word;
    count++;
  }
  return mix(sum, count);
}

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0x69314718, sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    if (i % 64 == 0) {
      for (int at = 0; at < TEXT; at++) {
        uint32_t value = random_next(&seed) % 32;
        text[at] = value < 26 ? (char)('a' + value) : ' ';
      }
    }
    size_t shift = i % 16;
    memcpy(copy + shift, text, TEXT + 1);
    memset(copy, '-', shift);
    sum = mix(sum, (uint32_t)length_of(copy));
    sum = mix(sum, (uint32_t)(compare(copy + shift, text) == 0));
    const char *found = find(text, copy + shift + (i * 37) % (TEXT - 8), 4);
    sum = mix(sum, (uint32_t)(found - text));
    move(copy + 3, copy, TEXT);
    sum = mix(sum, words(copy));
    sum = mix(sum, (uint32_t)(memcmp(copy, text, TEXT) > 0));
  }
  return sum;
}
