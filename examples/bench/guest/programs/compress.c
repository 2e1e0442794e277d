/* A dictionary compressor with a hash table of recent strings, and its decompressor, over repetitive text. */
#include "bench.h"

PROGRAM("compress", 2800);

#define BYTES 8192
#define HASHES 4096
#define LONGEST 66
#define SHORTEST 3

static uint8_t source[BYTES], packed[BYTES * 2], unpacked[BYTES];

static void fill(uint32_t *seed) {
  static const char *const words[] = {"the ", "frame ", "of ", "a ", "guest ", "is ", "mapped ", "to ", "host ", "page "};
  for (int at = 0; at < BYTES;) {
    uint32_t value = random_next(seed);
    const char *word = words[value % 10];
    while (*word && at < BYTES) source[at++] = (uint8_t)*word++;
    if (value >> 28 == 0 && at < BYTES) source[at++] = (uint8_t)(value >> 16);
  }
}

/* Tokens: a byte under 0x40 counts that many + 1 literals; else a match of 3..66 bytes, then two bytes of distance. */
static int pack(void) {
  static int32_t recent[HASHES];
  int out = 0, literals = 0;
  for (int i = 0; i < HASHES; i++) recent[i] = -1;
  for (int at = 0; at < BYTES;) {
    int length = 0, from = -1;
    if (at + SHORTEST <= BYTES) {
      uint32_t key = (source[at] | (uint32_t)source[at + 1] << 8 | (uint32_t)source[at + 2] << 16) * 2654435761u >> 20;
      from = recent[key];
      recent[key] = at;
      if (from >= 0) {
        while (length < LONGEST && at + length < BYTES && source[from + length] == source[at + length]) length++;
      }
    }
    if (length >= SHORTEST) {
      packed[out++] = (uint8_t)(0x40 + length - SHORTEST);
      packed[out++] = (uint8_t)(at - from);
      packed[out++] = (uint8_t)((at - from) >> 8);
      at += length;
      literals = 0;
    } else {
      if (literals == 0 || literals == 0x40) packed[out++] = 0, literals = 0;
      packed[out - literals - 1] = (uint8_t)literals;
      literals++;
      packed[out++] = source[at++];
    }
  }
  return out;
}

static int unpack(int bytes) {
  int out = 0;
  for (int at = 0; at < bytes;) {
    int token = packed[at++];
    if (token < 0x40) {
      for (int i = 0; i <= token; i++) unpacked[out++] = packed[at++];
    } else {
      int distance = packed[at] | packed[at + 1] << 8;
      at += 2;
      for (int i = 0; i < token - 0x40 + SHORTEST; i++, out++) unpacked[out] = unpacked[out - distance];
    }
  }
  return out;
}

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0x7f4a7c15, sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    fill(&seed);
    int bytes = pack();
    if (unpack(bytes) != BYTES) fail("the unpacked length is wrong");
    for (int at = 0; at < BYTES; at++) {
      if (unpacked[at] != source[at]) fail("the unpacked bytes are wrong");
    }
    sum = mix(sum, (uint32_t)bytes);
  }
  return sum;
}
