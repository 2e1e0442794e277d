/*
 * Paging: random accesses over far more pages than a TLB holds, through two virtual pages for each frame, with mappings
 * that change one at a time (and are flushed one at a time) and all at once. Sv39 on RV64, Sv32 on RV32, and the same
 * two levels on i386.
 */
#include "bench.h"

#ifdef __riscv
#include "riscv.h"
#else
#include "i386.h"
#endif

PROGRAM("paging", 240);

#define PAGE 4096
#define FRAMES 512
#define PAGES 2048
#define ACCESSES 20000
#define REMAPS 200
#define WINDOW 0x40000000u

typedef uintptr_t entry;
#define ENTRIES (PAGE / sizeof(entry))
#define LEAF_TABLES (PAGES / ENTRIES)

static uint8_t frames[FRAMES][PAGE] __attribute__((aligned(4096)));
static entry root[ENTRIES] __attribute__((aligned(4096)));
static entry leaves[LEAF_TABLES][ENTRIES] __attribute__((aligned(4096)));

#ifdef __riscv
#define TABLE 0x1u
#define LEAF 0xc7u /* V R W A D, so that no walk has to write */
#define CODE 0xcfu
static entry to(const void *address, entry flags) { return (entry)address >> 12 << 10 | flags; }
#else
#define TABLE 0x3u
#define LEAF 0x63u
#define LARGE 0xe3u
static entry to(const void *address, entry flags) { return (entry)address | flags; }
#endif

static void start_paging(void) {
#if defined(__riscv) && __riscv_xlen == 64
  static entry middle[ENTRIES] __attribute__((aligned(4096)));
  root[0] = to(0, LEAF);
  root[2] = to((void *)0x80000000, CODE);
  root[WINDOW >> 30] = to(middle, TABLE);
  for (size_t i = 0; i < LEAF_TABLES; i++) middle[i] = to(leaves[i], TABLE);
  enter_supervisor();
  CSR_WRITE(satp, 8ul << 60 | (uintptr_t)root >> 12);
  flush_all();
#elif defined(__riscv)
  root[0] = to(0, LEAF);
  root[0x10000000 >> 22] = to((void *)0x10000000, LEAF);
  for (uintptr_t at = 0x80000000; at < 0x82000000; at += 0x400000) root[at >> 22] = to((void *)at, CODE);
  for (size_t i = 0; i < LEAF_TABLES; i++) root[(WINDOW >> 22) + i] = to(leaves[i], TABLE);
  enter_supervisor();
  CSR_WRITE(satp, 1u << 31 | (uintptr_t)root >> 12);
  flush_all();
#else
  for (uintptr_t at = 0; at < 0x2000000; at += 0x400000) root[at >> 22] = to((void *)at, LARGE);
  for (size_t i = 0; i < LEAF_TABLES; i++) root[(WINDOW >> 22) + i] = to(leaves[i], TABLE);
  enable_paging((uintptr_t)root);
#endif
}

static void map(uint32_t page, uint32_t frame) {
  leaves[page / ENTRIES][page % ENTRIES] = to(frames[frame], LEAF);
}

uint32_t kernel(uint32_t iterations) {
  volatile uint32_t *window = (volatile uint32_t *)(uintptr_t)WINDOW;
  uint32_t seed = 0x13579bdf, sum = 0;
  for (uint32_t page = 0; page < PAGES; page++) map(page, page % FRAMES);
  start_paging();
  for (uint32_t i = 0; i < iterations; i++) {
    for (int j = 0; j < ACCESSES; j++) {
      uint32_t value = random_next(&seed), page = value % PAGES, word = value >> 12 & 1023;
      window[page * (PAGE / 4) + word] += value;
      sum += window[(page ^ 1) * (PAGE / 4) + word];
    }
    for (int j = 0; j < REMAPS; j++) {
      uint32_t value = random_next(&seed), page = value % PAGES;
      map(page, value >> 16 & (FRAMES - 1));
      flush_page(WINDOW + page * PAGE);
      sum = mix(sum, window[page * (PAGE / 4)]);
    }
    for (uint32_t page = i % 2; page < PAGES; page += 2) map(page, (page * 7 + i) % FRAMES);
    flush_all();
    sum = mix(sum, i);
  }
  return sum;
}
