/* Integer matrices: multiplication, transposition and a power. */
#include "bench.h"

PROGRAM("matrix", 250);

#define SIDE 96

typedef int32_t matrix[SIDE][SIDE];

static void multiply(matrix c, matrix a, matrix b) {
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      uint32_t total = 0;
      for (int k = 0; k < SIDE; k++) total += (uint32_t)a[i][k] * (uint32_t)b[k][j];
      c[i][j] = (int32_t)total;
    }
  }
}

static void transpose(matrix a) {
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < i; j++) {
      int32_t swap = a[i][j];
      a[i][j] = a[j][i];
      a[j][i] = swap;
    }
  }
}

uint32_t kernel(uint32_t iterations) {
  static matrix a, b, c;
  uint32_t seed = 0x27182818, sum = 0;
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = (int32_t)random_next(&seed) >> 8;
      b[i][j] = (int32_t)random_next(&seed) >> 8;
    }
  }
  for (uint32_t i = 0; i < iterations; i++) {
    multiply(c, a, b);
    transpose(c);
    for (int j = 0; j < SIDE; j++) {
      b[i % SIDE][j] ^= c[j][i % SIDE] >> 3;
      sum = mix(sum, (uint32_t)c[j][j]);
    }
  }
  return sum;
}
