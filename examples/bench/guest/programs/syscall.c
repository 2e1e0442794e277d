/*
 * System calls: a program in U-mode (ring 3) that asks a kernel in S-mode (ring 0) for its number, for words of a
 * message and to copy bytes, each through a full trap with registers saved and restored.
 */
#include "bench.h"

PROGRAM("syscall", 200000);

enum call { CALL_NUMBER, CALL_WORD, CALL_COPY, CALL_EXIT };

static uint32_t user_iterations, user_result;
static uint8_t user_stack[8192] __attribute__((aligned(16)));
uint8_t kernel_stack[8192] __attribute__((aligned(16)));
static void *resume[5];

static uint32_t serve(uint32_t call, uintptr_t first, uintptr_t second) {
  static const char message[] = "the hart waits for an interrupt";
  static uint32_t calls;
  calls++;
  switch (call) {
    case CALL_NUMBER: return calls;
    case CALL_WORD: return (uint32_t)message[first % sizeof message] ^ (uint32_t)second;
    case CALL_COPY:
      for (uintptr_t at = 0; at < second; at++) ((volatile char *)first)[at] = message[at];
      return (uint32_t)second;
    case CALL_EXIT: __builtin_longjmp(resume, 1);
    default: fail("unknown call");
  }
}

#ifdef __riscv
#include "riscv.h"

#if __riscv_xlen == 64
#define SAVE "sd"
#define RESTORE "ld"
#define SIZE "8"
#else
#define SAVE "sw"
#define RESTORE "lw"
#define SIZE "4"
#endif

#define CAUSE_USER_CALL 8
#define SSTATUS_SPP 0x100

/* Registers of the user program while the kernel runs: x0's place holds the pc. */
struct frame {
  uintptr_t pc;
  uintptr_t x[31];
};

struct frame user_frame;
void trap_entry(void);
void return_to_user(void);

void handle_trap(struct frame *frame) {
  if (CSR_READ(scause) != CAUSE_USER_CALL) fail("unexpected trap");
  frame->pc += 4;
  frame->x[9] = serve((uint32_t)frame->x[16], frame->x[9], frame->x[10]);
}

#define OTHERS "1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31"

__asm__(
    ".balign 4\n"
    "trap_entry:\n"
    "  csrrw sp, sscratch, sp\n"
    ".irp r, " OTHERS "\n"
    "  " SAVE " x\\r, \\r*" SIZE "(sp)\n"
    ".endr\n"
    "  csrr t0, sepc\n"
    "  " SAVE " t0, 0(sp)\n"
    "  csrr t0, sscratch\n"
    "  " SAVE " t0, 2*" SIZE "(sp)\n"
    "  mv a0, sp\n"
    "  la sp, kernel_stack + 8192\n"
    "  call handle_trap\n"
    "return_to_user:\n"
    "  la sp, user_frame\n"
    "  csrw sscratch, sp\n"
    "  " RESTORE " t0, 0(sp)\n"
    "  csrw sepc, t0\n"
    ".irp r, " OTHERS "\n"
    "  " RESTORE " x\\r, \\r*" SIZE "(sp)\n"
    ".endr\n"
    "  " RESTORE " sp, 2*" SIZE "(sp)\n"
    "  sret\n");

static uint32_t ask(uint32_t call, uintptr_t first, uintptr_t second) {
  register uintptr_t a0 __asm__("a0") = first;
  register uintptr_t a1 __asm__("a1") = second;
  register uintptr_t a7 __asm__("a7") = call;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a7) : "memory");
  return (uint32_t)a0;
}

static void enter_user(void (*program)(void)) {
  enter_supervisor();
  CSR_WRITE(stvec, trap_entry);
  __asm__ volatile("csrc sstatus, %0" : : "r"(SSTATUS_SPP));
  __asm__ volatile(SAVE " gp, 3*" SIZE "(%0)" : : "r"(&user_frame) : "memory");
  user_frame.pc = (uintptr_t)program;
  user_frame.x[1] = (uintptr_t)(user_stack + sizeof user_stack);
  return_to_user();
}
#else
#include "i386.h"

void call_entry(void);

/* The registers as pushal leaves them. */
struct frame {
  uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax;
};

void handle_call(struct frame *frame) { frame->eax = serve(frame->eax, frame->ebx, frame->ecx); }

__asm__(
    "call_entry:\n"
    "  pushal\n"
    "  pushl %esp\n"
    "  call handle_call\n"
    "  addl $4, %esp\n"
    "  popal\n"
    "  iret\n");

static uint32_t ask(uint32_t call, uintptr_t first, uintptr_t second) {
  uint32_t result;
  __asm__ volatile("int $0x80" : "=a"(result) : "0"(call), "b"(first), "c"(second) : "memory");
  return result;
}

static void enter_user(void (*program)(void)) {
  set_call_gate(call_entry, kernel_stack + sizeof kernel_stack);
  __asm__ volatile(
      "movw %w0, %%ds\n\tmovw %w0, %%es\n\t"
      "pushl %0\n\tpushl %1\n\tpushl $2\n\tpushl %2\n\tpushl %3\n\tiret"
      :
      : "r"(USER_DATA), "r"(user_stack + sizeof user_stack), "r"(USER_CODE), "r"(program)
      : "memory");
}
#endif

static void user_program(void) {
  uint32_t sum = 0;
  char copy[24];
  for (uint32_t i = 0; i < user_iterations; i++) {
    sum = mix(sum, ask(CALL_NUMBER, 0, 0));
    sum = mix(sum, ask(CALL_WORD, i, sum & 0xff));
    uint32_t bytes = ask(CALL_COPY, (uintptr_t)copy, 8 + i % 16);
    sum = mix(sum, (uint32_t)copy[bytes - 1]);
  }
  user_result = sum;
  ask(CALL_EXIT, 0, 0);
}

uint32_t kernel(uint32_t iterations) {
  user_iterations = iterations;
  if (__builtin_setjmp(resume) == 0) enter_user(user_program);
  return user_result;
}
