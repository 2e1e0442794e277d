/* An interpreter of a small stack machine, running a prime counter and a string hash in its own bytecode. */
#include "bench.h"

PROGRAM("bytecode", 200);

enum { PUSH, LOAD, STORE, ADD, SUBTRACT, MULTIPLY, MODULO, LESS, EQUAL, XOR, JUMP, JUMP_IF_ZERO, FETCH, PUT, HALT };

/* Variables: 0 n, 1 divisor, 2 count, 3 limit; counts the primes below the limit by trial division. */
static const uint8_t primes[] = {
    PUSH, 2, STORE, 0,                                    /*  0: n = 2 */
    LOAD, 0, LOAD, 3, LESS, JUMP_IF_ZERO, 59,             /*  4: while n < limit */
    PUSH, 2, STORE, 1,                                    /* 11: divisor = 2 */
    LOAD, 0, LOAD, 1, LOAD, 1, MULTIPLY, LESS,            /* 15: if n < divisor * divisor it is prime */
    JUMP_IF_ZERO, 34,                                     /* 23 */
    LOAD, 2, PUSH, 1, ADD, STORE, 2, JUMP, 50,            /* 25: count++ */
    LOAD, 0, LOAD, 1, MODULO, JUMP_IF_ZERO, 50,           /* 34: divided: not prime */
    LOAD, 1, PUSH, 1, ADD, STORE, 1, JUMP, 15,            /* 41: divisor++ */
    LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4,             /* 50: n++ */
    LOAD, 2, HALT,                                        /* 59 */
};

/* Variables: 0 i, 1 hash, 3 limit; fills memory with a hash chain and folds it. */
static const uint8_t chain[] = {
    PUSH, 0, STORE, 0,                                    /*  0 */
    LOAD, 0, LOAD, 3, LESS, JUMP_IF_ZERO, 43,             /*  4: while i < limit */
    LOAD, 1, PUSH, 33, MULTIPLY, LOAD, 0, XOR, STORE, 1,  /* 11 */
    LOAD, 1, LOAD, 0, PUT,                                /* 21: memory[i] = hash */
    LOAD, 1, FETCH, LOAD, 1, ADD, STORE, 1,               /* 26: hash += memory[hash] */
    LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4,             /* 34: i++ */
    LOAD, 1, HALT,                                        /* 43 */
};

#define MEMORY 256

static uint32_t run(const uint8_t *code, uint32_t limit, uint32_t hash) {
  static uint32_t memory[MEMORY];
  uint32_t variables[4] = {0, hash, 0, limit}, stack[16], *top = stack;
  for (const uint8_t *at = code;;) {
    switch (*at++) {
      case PUSH: *top++ = *at++; break;
      case LOAD: *top++ = variables[*at++]; break;
      case STORE: variables[*at++] = *--top; break;
      case ADD: top--, top[-1] += *top; break;
      case SUBTRACT: top--, top[-1] -= *top; break;
      case MULTIPLY: top--, top[-1] *= *top; break;
      case MODULO: top--, top[-1] %= *top; break;
      case LESS: top--, top[-1] = top[-1] < *top; break;
      case EQUAL: top--, top[-1] = top[-1] == *top; break;
      case XOR: top--, top[-1] ^= *top; break;
      case JUMP: at = code + *at; break;
      case JUMP_IF_ZERO: at = *--top ? at + 1 : code + *at; break;
      case FETCH: top[-1] = memory[top[-1] % MEMORY]; break;
      case PUT: top -= 2, memory[top[1] % MEMORY] = top[0]; break;
      case HALT: return *--top;
      default: fail("bad bytecode");
    }
  }
}

uint32_t kernel(uint32_t iterations) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    sum = mix(sum, run(primes, 1000 + i % 8, 0));
    sum = mix(sum, run(chain, 2000, i));
  }
  return sum;
}
