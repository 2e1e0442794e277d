/* Non-cryptographic hashing: FNV-1a by bytes, and four 64-bit lanes of multiply and rotate in the manner of xxHash. */
#include "bench.h"

PROGRAM("hash64", 18000);

#define BYTES 16384
#define PRIME_1 0x9e3779b185ebca87u
#define PRIME_2 0xc2b2ae3d27d4eb4fu

static uint64_t rotate(uint64_t value, int count) { return value << count | value >> (64 - count); }

static uint64_t lanes(const uint64_t *words, int count, uint64_t seed) {
  uint64_t lane[4] = {seed + PRIME_1 + PRIME_2, seed + PRIME_2, seed, seed - PRIME_1};
  for (int at = 0; at < count; at += 4) {
    for (int i = 0; i < 4; i++) lane[i] = rotate(lane[i] + words[at + i] * PRIME_2, 31) * PRIME_1;
  }
  uint64_t hash = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
  hash = (hash ^ hash >> 33) * PRIME_2;
  return hash ^ hash >> 29;
}

static uint32_t fnv(const uint8_t *bytes, int count, uint32_t hash) {
  for (int at = 0; at < count; at++) hash = (hash ^ bytes[at]) * 16777619u;
  return hash;
}

uint32_t kernel(uint32_t iterations) {
  static uint64_t words[BYTES / 8];
  uint32_t seed = 0x31415926, sum = 2166136261u;
  for (int i = 0; i < BYTES / 8; i++) words[i] = (uint64_t)random_next(&seed) << 32 | random_next(&seed);
  for (uint32_t i = 0; i < iterations; i++) {
    uint64_t hash = lanes(words, BYTES / 8, i);
    sum = fnv((const uint8_t *)words, BYTES, sum ^ (uint32_t)hash);
    words[i % (BYTES / 8)] ^= hash;
  }
  return sum;
}
