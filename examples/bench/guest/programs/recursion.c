/* Calls and returns: Fibonacci, Ackermann and Takeuchi. */
#include "bench.h"

PROGRAM("recursion", 80);

/* Keeps the compiler from turning calls into loops or into several levels at once. */
#define RECURSIVE __attribute__((noinline, optimize("no-optimize-sibling-calls"))) static

RECURSIVE uint32_t fibonacci(uint32_t n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

RECURSIVE uint32_t ackermann(uint32_t m, uint32_t n) {
  if (m == 0) return n + 1;
  return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

RECURSIVE int32_t takeuchi(int32_t x, int32_t y, int32_t z) {
  if (y >= x) return z;
  return takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}

uint32_t kernel(uint32_t iterations) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    sum = mix(sum, fibonacci(24 + (i & 1)));
    sum = mix(sum, ackermann(2, 150 + (i & 7)));
    sum = mix(sum, (uint32_t)takeuchi(16, 10, 4 + (int32_t)(i & 1)));
  }
  return sum;
}
