/* Following pointers through a random cycle of 2 MiB: each load waits for the one before, and few hit a cache or TLB. */
#include "bench.h"

PROGRAM("chase", 25);

#define CELLS 65536
#define STEPS 200000

struct cell {
  struct cell *next;
  uint32_t value;
  uint8_t padding[32 - sizeof(void *) - sizeof(uint32_t)];
};

uint32_t kernel(uint32_t iterations) {
  static struct cell cells[CELLS];
  static uint32_t order[CELLS];
  uint32_t seed = 0x83646341, sum = 0;
  for (uint32_t i = 0; i < CELLS; i++) order[i] = i;
  for (uint32_t i = CELLS - 1; i > 0; i--) {
    uint32_t other = random_next(&seed) % (i + 1), swap = order[i];
    order[i] = order[other];
    order[other] = swap;
  }
  for (uint32_t i = 0; i < CELLS; i++) {
    cells[order[i]].next = &cells[order[(i + 1) % CELLS]];
    cells[order[i]].value = i;
  }
  struct cell *at = cells;
  for (uint32_t i = 0; i < iterations; i++) {
    for (int step = 0; step < STEPS; step++) {
      sum += at->value;
      at = at->next;
    }
    sum = mix(sum, at->value);
  }
  return sum;
}
