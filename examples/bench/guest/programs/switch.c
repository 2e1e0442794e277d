/*
 * Context switches: eight threads in turn, each with its registers, its stack and its own address space, in which one
 * page lies at the same address as everyone's. The fence after each change of space is what a kernel does that uses no
 * address-space identifiers.
 */
#include "bench.h"

PROGRAM("switch", 10000);

#define PAGE 4096
#define THREADS 8
#define PRIVATE 0x40000000u
#define STACK 4096

typedef uintptr_t entry;
#define ENTRIES (PAGE / sizeof(entry))

struct thread {
  uintptr_t stack_pointer;
  uintptr_t space;
  uint32_t result;
};

static struct thread threads[THREADS], main_thread;
static uint8_t stacks[THREADS][STACK] __attribute__((aligned(16)));
static uint8_t pages[THREADS][PAGE] __attribute__((aligned(4096)));
static entry roots[THREADS][ENTRIES] __attribute__((aligned(4096)));
static entry leaves[THREADS][ENTRIES] __attribute__((aligned(4096)));
static uint32_t current, rounds;

/* Saves the registers that a function must keep, and takes those of another thread. */
void switch_registers(uintptr_t *save, uintptr_t load);

#ifdef __riscv
#include "riscv.h"

#define TABLE 0x1u
#define LEAF 0xc7u
#define CODE 0xcfu
#define SAVED 14

static entry to(const void *address, entry flags) { return (entry)address >> 12 << 10 | flags; }

#if __riscv_xlen == 64
#define SAVE "sd"
#define RESTORE "ld"
#define SIZE "8"
static entry middles[THREADS][ENTRIES] __attribute__((aligned(4096)));

static void make_space(int i) {
  roots[i][0] = to(0, LEAF);
  roots[i][2] = to((void *)0x80000000, CODE);
  roots[i][PRIVATE >> 30] = to(middles[i], TABLE);
  middles[i][0] = to(leaves[i], TABLE);
  leaves[i][0] = to(pages[i], LEAF);
  threads[i].space = 8ul << 60 | (uintptr_t)roots[i] >> 12;
}
#else
#define SAVE "sw"
#define RESTORE "lw"
#define SIZE "4"

static void make_space(int i) {
  roots[i][0] = to(0, LEAF);
  roots[i][0x10000000 >> 22] = to((void *)0x10000000, LEAF);
  for (uintptr_t at = 0x80000000; at < 0x82000000; at += 0x400000) roots[i][at >> 22] = to((void *)at, CODE);
  roots[i][PRIVATE >> 22] = to(leaves[i], TABLE);
  leaves[i][0] = to(pages[i], LEAF);
  threads[i].space = 1u << 31 | (uintptr_t)roots[i] >> 12;
}
#endif

__asm__(
    ".globl switch_registers\n"
    "switch_registers:\n"
    "  addi sp, sp, -14*" SIZE "\n"
    "  " SAVE " ra, 0(sp)\n"
    "  " SAVE " s0, 1*" SIZE "(sp)\n"
    "  " SAVE " s1, 2*" SIZE "(sp)\n"
    ".irp r, 2,3,4,5,6,7,8,9,10,11\n"
    "  " SAVE " s\\r, (\\r+1)*" SIZE "(sp)\n"
    ".endr\n"
    "  " SAVE " sp, 0(a0)\n"
    "  mv sp, a1\n"
    "  " RESTORE " ra, 0(sp)\n"
    "  " RESTORE " s0, 1*" SIZE "(sp)\n"
    "  " RESTORE " s1, 2*" SIZE "(sp)\n"
    ".irp r, 2,3,4,5,6,7,8,9,10,11\n"
    "  " RESTORE " s\\r, (\\r+1)*" SIZE "(sp)\n"
    ".endr\n"
    "  addi sp, sp, 14*" SIZE "\n"
    "  ret\n");

static void start_spaces(void) { enter_supervisor(); }

static void take_space(uintptr_t space) {
  CSR_WRITE(satp, space);
  flush_all();
}

#define RETURN_ADDRESS 0
#else
#include "i386.h"

#define TABLE 0x3u
#define LEAF 0x63u
#define LARGE 0xe3u
#define SAVED 5
#define RETURN_ADDRESS 4

static void make_space(int i) {
  for (uintptr_t at = 0; at < 0x2000000; at += 0x400000) roots[i][at >> 22] = at | LARGE;
  roots[i][PRIVATE >> 22] = (entry)leaves[i] | TABLE;
  leaves[i][0] = (entry)pages[i] | LEAF;
  threads[i].space = (uintptr_t)roots[i];
}

__asm__(
    ".globl switch_registers\n"
    "switch_registers:\n"
    "  movl 4(%esp), %eax\n"
    "  movl 8(%esp), %ecx\n"
    "  pushl %ebx\n  pushl %esi\n  pushl %edi\n  pushl %ebp\n"
    "  movl %esp, (%eax)\n"
    "  movl %ecx, %esp\n"
    "  popl %ebp\n  popl %edi\n  popl %esi\n  popl %ebx\n"
    "  ret\n");

static void start_spaces(void) { enable_paging((uintptr_t)roots[0]); }
static void take_space(uintptr_t space) { set_page_directory(space); }
#endif

static void yield(void) {
  struct thread *from = &threads[current];
  current = (current + 1) % THREADS;
  take_space(threads[current].space);
  switch_registers(&from->stack_pointer, threads[current].stack_pointer);
}

static void run_thread(void) {
  volatile uint32_t *private = (volatile uint32_t *)(uintptr_t)PRIVATE;
  uint32_t number = current, sum = number;
  for (uint32_t round = 0; round < rounds; round++) {
    private[round % 1024] += sum + number;
    sum = mix(sum, private[(round * 5 + 3) % 1024]);
    threads[number].result = sum;
    yield();
  }
  switch_registers(&threads[number].stack_pointer, main_thread.stack_pointer);
}

uint32_t kernel(uint32_t iterations) {
  rounds = iterations;
  for (int i = 0; i < THREADS; i++) {
    uintptr_t *saved = (uintptr_t *)(stacks[i] + STACK - 64) - SAVED;
    saved[RETURN_ADDRESS] = (uintptr_t)run_thread;
    threads[i].stack_pointer = (uintptr_t)saved;
    make_space(i);
  }
  start_spaces();
  current = 0;
  take_space(threads[0].space);
  switch_registers(&main_thread.stack_pointer, threads[0].stack_pointer);
  uint32_t sum = 0;
  for (int i = 0; i < THREADS; i++) sum = mix(sum, threads[i].result);
  return sum;
}
