/*
 * fp: two processes hold different values in all 32 floating-point registers and in fcsr while they take turns; then
 * a sum and the rounding modes are compared with their known bits.
 */
#include "user.h"

#define ROUNDS 20
#define YIELDS 10
#define HARMONIC_BITS 0x401df11f45f4e618ull
#define ROOT_BITS 0x40d49a5d2d42af1aull

unsigned long fp_hold(const double in[32], double out[32], unsigned long fcsr, unsigned long yields);

static unsigned hold_rounds(unsigned who) {
  static double in[32], out[32];
  unsigned wrong = 0;
  for (unsigned round = 0; round < ROUNDS; round++) {
    for (unsigned i = 0; i < 32; i++) in[i] = (double)(int)(who * 100000 + round * 100 + i) / 7;
    unsigned long fcsr = (who + 1) << 5 | (round & 31);
    memset(out, 0, sizeof out);
    wrong += fp_hold(in, out, fcsr, YIELDS) != fcsr;
    wrong += memcmp(in, out, sizeof in) != 0;
  }
  return wrong;
}

static uint64_t bits(double value) {
  uint64_t result;
  memcpy(&result, &value, sizeof result);
  return result;
}

/* The first 1,000 terms of the harmonic series and of the square roots, in the order of the loop. */
static bool sums_are_right(void) {
  double harmonic = 0, roots = 0;
  for (int i = 1; i <= 1000; i++) {
    harmonic += 1.0 / i;
    double root;
    __asm__("fsqrt.d %0, %1" : "=f"(root) : "f"((double)i));
    roots += root;
  }
  return bits(harmonic) == HARMONIC_BITS && bits(roots) == ROOT_BITS;
}

static double divide(double left, double right, unsigned long rounding) {
  double result;
  __asm__ volatile("fsrm zero, %3\n\tfdiv.d %0, %1, %2\n\tfsrm zero, zero"
                   : "=f"(result)
                   : "f"(left), "f"(right), "r"(rounding));
  return result;
}

/* 1/3 by fcsr's modes: to nearest, towards zero, down, up, to nearest with ties away. */
static bool rounding_is_right(void) {
  static const uint8_t last[5] = {0x55, 0x55, 0x55, 0x56, 0x55};
  bool right = true;
  for (unsigned long mode = 0; mode < 5; mode++) {
    right = right && bits(divide(1, 3, mode)) == (0x3fd5555555555500ull | last[mode]);
  }
  return right;
}

int fp_command(int argc, char **argv) {
  if (argc != 1) return usage(argv[0]);
  int status = 1, pid = fork();
  if (pid == 0) exit(hold_rounds(1) == 0 ? 0 : 1);
  bool held = hold_rounds(2) == 0;
  held = pid > 0 && wait(pid, &status, 0) == pid && status == 0 && held;
  bool sums = sums_are_right(), rounding = rounding_is_right();
  printf("fp: registers %s, sums %s, rounding %s\n", held ? "ok" : "WRONG", sums ? "ok" : "WRONG",
         rounding ? "ok" : "WRONG");
  return held && sums && rounding ? 0 : 1;
}
