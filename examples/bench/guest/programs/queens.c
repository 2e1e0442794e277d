/* Queens on a board, by backtracking over sets of bits. */
#include "bench.h"

PROGRAM("queens", 800);

static uint32_t place(uint32_t free, uint32_t left, uint32_t right) {
  if (free == 0) return 1;
  uint32_t count = 0;
  for (uint32_t choices = free & ~(left | right); choices; choices &= choices - 1) {
    uint32_t queen = choices & -choices;
    count += place(free ^ queen, (left | queen) << 1, (right | queen) >> 1);
  }
  return count;
}

uint32_t kernel(uint32_t iterations) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < iterations; i++) sum = mix(sum, place((1u << (8 + i % 3)) - 1, 0, 0));
  return sum;
}
