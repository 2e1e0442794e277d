/*
 * C += A B in double precision with blocks of 4 by 4. The checksum takes rounded numbers, so that it is the same with
 * and without fused multiply-add.
 */
#include "bench.h"

#define SIDE 48
#define BLOCK 4

static double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];

static void multiply(void) {
  for (int i = 0; i < SIDE; i += BLOCK) {
    for (int j = 0; j < SIDE; j += BLOCK) {
      double total[BLOCK][BLOCK] = {{0}};
      for (int k = 0; k < SIDE; k++) {
#pragma GCC unroll 4
        for (int p = 0; p < BLOCK; p++) {
#pragma GCC unroll 4
          for (int q = 0; q < BLOCK; q++) total[p][q] += a[i + p][k] * b[k][j + q];
        }
      }
#pragma GCC unroll 4
      for (int p = 0; p < BLOCK; p++) {
#pragma GCC unroll 4
        for (int q = 0; q < BLOCK; q++) c[i + p][j + q] += total[p][q];
      }
    }
  }
}

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0x14142135, sum = 0;
  for (int i = 0; i < SIDE; i++) {
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = (double)(int32_t)random_next(&seed) / 3e9;
      b[i][j] = (double)(int32_t)random_next(&seed) / 7e9;
    }
  }
  for (uint32_t i = 0; i < iterations; i++) {
    multiply();
    for (int j = 0; j < SIDE; j++) {
      c[i % SIDE][j] *= 0.5;
      a[i % SIDE][j] = -a[i % SIDE][j];
    }
  }
  for (int i = 0; i < SIDE; i++) sum = mix(sum, (uint32_t)(int32_t)(c[i][i] * 1024.0));
  return sum;
}
