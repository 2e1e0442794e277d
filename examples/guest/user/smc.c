/*
 * smc: self-modifying code. Instructions are written into a page of the heap, made visible to fetches with fence.i,
 * and called; then rewritten, in four ways that translators get wrong: in place, at the end of a page with half an
 * instruction on the next, in a loop that patches its own callee, and with write and execute permission in turns.
 */
#include "user.h"

#define PAGE 4096
#define ROUNDS 1000
#define RET 0x8067u

typedef long function(void);

/* addi a0, zero, value */
static uint32_t load_immediate(uint32_t value) {
  return (value & 0x7ff) << 20 | 0x513;
}

static void put_instruction(uint16_t *at, uint32_t instruction) {
  at[0] = (uint16_t)instruction;
  at[1] = (uint16_t)(instruction >> 16);
}

static void write_function(char *at, uint32_t value) {
  put_instruction((uint16_t *)at, load_immediate(value));
  put_instruction((uint16_t *)at + 2, RET);
  __asm__ volatile("fence.i" ::: "memory");
}

static long call_at(char *at) {
  return ((function *)(uintptr_t)at)();
}

static unsigned rewrite(char *at) {
  unsigned wrong = 0;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    write_function(at, i);
    wrong += call_at(at) != (long)i;
  }
  return wrong;
}

/* Only the immediate's upper half changes, which lies on the second page. */
static unsigned rewrite_across_pages(char *page) {
  char *at = page + PAGE - 2;
  unsigned wrong = 0;
  write_function(at, 0);
  for (uint32_t i = 0; i < ROUNDS; i++) {
    *(uint16_t *)(page + PAGE) = (uint16_t)(load_immediate(i) >> 16);
    __asm__ volatile("fence.i" ::: "memory");
    wrong += call_at(at) != (long)i;
  }
  return wrong;
}

/* Calls often enough that the callee is hot when it changes. */
static unsigned rewrite_hot(char *at) {
  unsigned wrong = 0;
  for (uint32_t i = 0; i < 4; i++) {
    write_function(at, i);
    for (unsigned j = 0; j < 20 * ROUNDS; j++) wrong += call_at(at) != (long)i;
  }
  return wrong;
}

static unsigned rewrite_with_permissions(char *page) {
  unsigned wrong = 0;
  for (uint32_t i = 0; i < ROUNDS / 10; i++) {
    wrong += protect(page, PAGE, PROTECT_WRITE) != 0;
    write_function(page, i);
    wrong += protect(page, PAGE, PROTECT_EXECUTE) != 0;
    wrong += call_at(page) != (long)i;
  }
  return wrong;
}

int smc_command(int argc, char **argv) {
  if (argc != 1) return usage(argv[0]);
  char *code = grow(2 * PAGE);
  if (code == 0 || protect(code, 2 * PAGE, PROTECT_WRITE | PROTECT_EXECUTE) != 0) {
    printf("smc: no executable memory\n");
    return 1;
  }
  static const struct {
    const char *name;
    unsigned (*run)(char *page);
  } ways[] = {
    {"in place", rewrite},
    {"across pages", rewrite_across_pages},
    {"hot", rewrite_hot},
    {"write xor execute", rewrite_with_permissions},
  };
  unsigned wrong = 0;
  for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    unsigned found = ways[i].run(code);
    printf("smc: %s: %u wrong\n", ways[i].name, found);
    wrong += found;
  }
  printf("smc: %s\n", wrong == 0 ? "ok" : "WRONG");
  return wrong == 0 ? 0 : 1;
}
