/* The sieve of Eratosthenes over odd numbers, a byte each. */
#include "bench.h"

PROGRAM("sieve", 1100);

#define LIMIT 100000

uint32_t kernel(uint32_t iterations) {
  static uint8_t composite[LIMIT / 2];
  uint32_t sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    for (uint32_t at = 0; at < LIMIT / 2; at++) composite[at] = 0;
    for (uint32_t n = 3; n * n < LIMIT; n += 2) {
      if (composite[n / 2]) continue;
      for (uint32_t at = n * n / 2; at < LIMIT / 2; at += n) composite[at] = 1;
    }
    uint32_t primes = 1, last = 2;
    for (uint32_t at = 1; at < LIMIT / 2; at++) {
      if (composite[at]) continue;
      primes++;
      last = 2 * at + 1;
    }
    sum = mix(mix(sum, primes), last);
  }
  return sum;
}
