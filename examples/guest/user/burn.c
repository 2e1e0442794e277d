/*
 * burn: a loop of register arithmetic whose result is known without running it. A xorshift step is linear over GF(2),
 * so its n-th power is a matrix power; a linear congruential step composes with itself in closed form. Both give the
 * expected values in about log2(n) steps, by code that shares nothing with the loop.
 */
#include "user.h"

typedef unsigned long word;
#define BITS (8 * sizeof(word))
#if __riscv_xlen == 64
#define SHIFT_A 13
#define SHIFT_B 7
#define SHIFT_C 17
#define FACTOR 6364136223846793005ul
#define TERM 1442695040888963407ul
#else
#define SHIFT_A 13
#define SHIFT_B 17
#define SHIFT_C 5
#define FACTOR 1664525ul
#define TERM 1013904223ul
#endif
#define SEED 0x2545f491ul
#define STEPS 1000000ul

static word xorshift(word x) {
  x ^= x << SHIFT_A;
  x ^= x >> SHIFT_B;
  x ^= x << SHIFT_C;
  return x;
}

static word apply(const word matrix[BITS], word vector) {
  word result = 0;
  for (unsigned i = 0; vector != 0; i++, vector >>= 1) {
    if ((vector & 1) != 0) result ^= matrix[i];
  }
  return result;
}

static word expected_xorshift(word x, word steps) {
  word matrix[BITS], square[BITS];
  for (unsigned i = 0; i < BITS; i++) matrix[i] = xorshift((word)1 << i);
  for (; steps != 0; steps >>= 1) {
    if ((steps & 1) != 0) x = apply(matrix, x);
    for (unsigned i = 0; i < BITS; i++) square[i] = apply(matrix, matrix[i]);
    memcpy(matrix, square, sizeof matrix);
  }
  return x;
}

static word expected_congruential(word y, word steps) {
  word factor = FACTOR, term = TERM;
  for (; steps != 0; steps >>= 1) {
    if ((steps & 1) != 0) y = y * factor + term;
    term += factor * term;
    factor *= factor;
  }
  return y;
}

int burn_command(int argc, char **argv) {
  unsigned long millions = 1;
  if (argc > 2 || (argc == 2 && !parse_number(argv[1], &millions))) return usage(argv[0]);
  if (millions == 0 || millions > 4000) return usage(argv[0]);
  word x = SEED, y = SEED, steps = millions * STEPS;
  for (word i = steps; i != 0; i--) {
    x = xorshift(x);
    y = y * FACTOR + TERM;
  }
  bool right = x == expected_xorshift(SEED, steps) && y == expected_congruential(SEED, steps);
  printf("burn: %lu million steps, %lx %lx, %s\n", millions, x, y, right ? "ok" : "WRONG");
  return right ? 0 : 1;
}
