/* 64-bit multiplication: low and high halves, and a division now and then; the hard case for 32-bit machines. */
#include "bench.h"

PROGRAM("multiply64", 80000);

#define STEPS 2000

static uint64_t multiply_high(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
  return (uint64_t)((unsigned __int128)a * b >> 64);
#else
  uint64_t low = (uint64_t)(uint32_t)a * (uint32_t)b;
  uint64_t first = (a >> 32) * (uint32_t)b + (low >> 32);
  uint64_t second = (uint64_t)(uint32_t)a * (b >> 32) + (uint32_t)first;
  return (a >> 32) * (b >> 32) + (first >> 32) + (second >> 32);
#endif
}

uint32_t kernel(uint32_t iterations) {
  uint64_t x = 0x0123456789abcdefu, y = 0xfedcba9876543211u, z = 1;
  uint32_t sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    for (int j = 0; j < STEPS; j++) {
      x = x * 6364136223846793005u + 1442695040888963407u;
      y ^= multiply_high(x, y) + (x << 7);
      z = (z ^ (y >> 29)) * 0xbf58476d1ce4e5b9u;
    }
    z += x % (y | 1) + x / ((y >> 40) | 1);
    sum = mix64(sum, z);
  }
  return sum;
}
