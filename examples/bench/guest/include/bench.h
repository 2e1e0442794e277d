/*
 * What every guest program of the suite shares. A program declares itself with PROGRAM and defines `kernel`, which does
 * a number of iterations and gives a checksum of everything it computed; `main` prints that and ends the machine.
 * Nothing that a kernel computes may depend on time, addresses or the width of a register, so that one checksum holds
 * for all machines.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* The runner finds this block in the image by its magic and may write another number of iterations. */
struct parameters {
  char magic[8];
  uint32_t iterations;
};

extern const char program_name[];
extern struct parameters parameters;

#define PROGRAM(name, count) \
  const char program_name[] = name; \
  struct parameters parameters = {"HFBENCH", count}

/* The measured work. */
uint32_t kernel(uint32_t iterations);

/* Adds a value to a checksum; every bit of both matters. */
static inline uint32_t mix(uint32_t sum, uint32_t value) {
  sum = (sum ^ value) * 0x9e3779b1u;
  return sum ^ (sum >> 15);
}

static inline uint32_t mix64(uint32_t sum, uint64_t value) {
  return mix(mix(sum, (uint32_t)value), (uint32_t)(value >> 32));
}

static inline uint32_t mix_double(uint32_t sum, double value) {
  union { double number; uint64_t bits; } both = {value};
  return mix64(sum, both.bits);
}

/* Marsaglia's xorshift with 32 bits of state, which is never zero. */
static inline uint32_t random_next(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

/* Ends the machine with a message; for broken invariants and unexpected traps. */
_Noreturn void fail(const char *message);

void print_text(const char *text);
void print_hex(uint32_t value);
void print_decimal(uint32_t value);

/* The platform: one character out, and the end of the machine with a status. */
void put_character(char character);
_Noreturn void finish(uint32_t status);

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);

#endif
