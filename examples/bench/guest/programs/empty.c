/* No work: what starting and ending a machine costs. */
#include "bench.h"

PROGRAM("empty", 1);

uint32_t kernel(uint32_t iterations) { return iterations; }
