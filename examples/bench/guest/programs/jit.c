/*
 * Code that the guest generates: small functions of random operations, each run a few times, then overwritten. A
 * translator must notice every rewrite; how dear that is decides the time.
 */
#include "bench.h"

PROGRAM("jit", 20000);

#define OPERATIONS 40
#define CALLS 24

typedef uint32_t generated(uint32_t a, uint32_t b);
enum operation { ADD, XOR, SUBTRACT, SHIFT_XOR, ADD_CONSTANT, KINDS };

#ifdef __riscv
#define UNIT uint32_t
#define A0 10u
#define A1 11u
#define A2 12u

/* RV64 needs the 32-bit forms, whose opcodes differ from the plain ones by bit 3. */
#define WORD (__riscv_xlen == 64 ? 8u : 0u)

static uint32_t r_type(uint32_t opcode, uint32_t funct3, uint32_t funct7, uint32_t rd, uint32_t rs1, uint32_t rs2) {
  return funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode;
}

static UNIT *emit(UNIT *at, enum operation operation, uint32_t value) {
  switch (operation) {
    case ADD: *at++ = r_type(0x33 | WORD, 0, 0, A0, A0, A1); break;
    case XOR: *at++ = r_type(0x33, 4, 0, A0, A0, A1); break;
    case SUBTRACT: *at++ = r_type(0x33 | WORD, 0, 0x20, A1, A1, A0); break;
    case SHIFT_XOR:
      *at++ = r_type(0x13 | WORD, 1, 0, A2, A0, value % 15 + 1);
      *at++ = r_type(0x33, 4, 0, A0, A0, A2);
      break;
    default: *at++ = r_type(0x13 | WORD, 0, 0, A0, A0, 0) | (value & 0x7ff) << 20; break;
  }
  return at;
}

static UNIT *emit_return(UNIT *at) {
  *at++ = 0x00008067; /* ret */
  return at;
}

static void synchronise(void) { __asm__ volatile("fence.i" : : : "memory"); }
#else
#define UNIT uint8_t

static UNIT *emit_bytes(UNIT *at, const uint8_t *bytes, int count) {
  while (count-- > 0) *at++ = *bytes++;
  return at;
}

#define EMIT(...) emit_bytes(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* a lives in eax, b in edx, and ecx is free. */
static UNIT *emit(UNIT *at, enum operation operation, uint32_t value) {
  switch (operation) {
    case ADD: return EMIT(0x01, 0xd0);
    case XOR: return EMIT(0x31, 0xd0);
    case SUBTRACT: return EMIT(0x29, 0xc2);
    case SHIFT_XOR: return EMIT(0x89, 0xc1, 0xc1, 0xe1, (uint8_t)(value % 15 + 1), 0x31, 0xc8);
    default: value &= 0x7ff; return EMIT(0x05, (uint8_t)value, (uint8_t)(value >> 8), 0, 0);
  }
}

static UNIT *emit_entry(UNIT *at) { return EMIT(0x8b, 0x44, 0x24, 4, 0x8b, 0x54, 0x24, 8); }
static UNIT *emit_return(UNIT *at) { return EMIT(0xc3); }
static void synchronise(void) { __asm__ volatile("" : : : "memory"); }
#endif

static UNIT buffer[4096 / sizeof(UNIT)] __attribute__((aligned(4096)));

uint32_t kernel(uint32_t iterations) {
  uint32_t seed = 0x24681357, sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    UNIT *start = buffer + i % 4 * (1024 / sizeof(UNIT)), *at = start;
#ifndef __riscv
    at = emit_entry(at);
#endif
    for (int j = 0; j < OPERATIONS; j++) {
      uint32_t value = random_next(&seed);
      at = emit(at, value % KINDS, value >> 8);
    }
    emit_return(at);
    synchronise();
    generated *function = (generated *)start;
    for (uint32_t j = 0; j < CALLS; j++) sum = function(sum, j);
  }
  return sum;
}
