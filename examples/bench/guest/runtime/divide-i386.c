/*
 * 64-bit division for i386, where hosts seldom have a 32-bit libgcc: the processor's 64-by-32 division where the
 * divisor fits, else a quotient estimated from its high half, which is at most one too large or small
 * (Warren, Hacker's Delight, chapter 9).
 */
#include <stdint.h>

static uint32_t divide_word(uint32_t high, uint32_t low, uint32_t divisor, uint32_t *remainder) {
  uint32_t quotient;
  __asm__("divl %4" : "=a"(quotient), "=d"(*remainder) : "0"(low), "1"(high), "r"(divisor));
  return quotient;
}

static uint64_t divide(uint64_t dividend, uint64_t divisor, uint64_t *remainder) {
  uint32_t rest, high = (uint32_t)(divisor >> 32);
  if (high == 0) {
    uint32_t small = (uint32_t)divisor;
    uint32_t upper = divide_word(0, (uint32_t)(dividend >> 32), small, &rest);
    uint32_t lower = divide_word(rest, (uint32_t)dividend, small, &rest);
    *remainder = rest;
    return (uint64_t)upper << 32 | lower;
  }
  int shift = __builtin_clz(high);
  uint64_t half = dividend >> 1;
  uint32_t estimate = divide_word((uint32_t)(half >> 32), (uint32_t)half, (uint32_t)(divisor << shift >> 32), &rest);
  uint64_t quotient = (uint64_t)estimate << shift >> 31;
  if (quotient != 0) quotient--;
  *remainder = dividend - quotient * divisor;
  if (*remainder >= divisor) {
    *remainder -= divisor;
    quotient++;
  }
  return quotient;
}

uint64_t __udivdi3(uint64_t dividend, uint64_t divisor) {
  uint64_t remainder;
  return divide(dividend, divisor, &remainder);
}

uint64_t __umoddi3(uint64_t dividend, uint64_t divisor) {
  uint64_t remainder;
  divide(dividend, divisor, &remainder);
  return remainder;
}
