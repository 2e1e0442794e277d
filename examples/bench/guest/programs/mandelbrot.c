/* The Mandelbrot set in double precision: short loops of multiplications and one comparison. */
#include "bench.h"

PROGRAM("mandelbrot", 80);

#define WIDTH 48
#define HEIGHT 32
#define DEPTH 200

uint32_t kernel(uint32_t iterations) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    double size = 3.0 / (1.0 + (i % 16) * 0.5);
    for (int row = 0; row < HEIGHT; row++) {
      double cy = ((double)row / HEIGHT - 0.5) * size;
      for (int column = 0; column < WIDTH; column++) {
        double cx = ((double)column / WIDTH - 0.5) * size - 0.7;
        double x = 0, y = 0, xx = 0, yy = 0;
        uint32_t depth = 0;
        for (; depth < DEPTH && xx + yy <= 4.0; depth++) {
          y = 2.0 * x * y + cy;
          x = xx - yy + cx;
          xx = x * x;
          yy = y * y;
        }
        sum = sum * 31 + depth;
      }
    }
  }
  return mix(sum, iterations);
}
