/* fault: commits each kind of fault in a process of its own, and checks that the kernel ends that one for it. */
#include "user.h"

#define KERNEL_ADDRESS 0x80200000ul
#define DEVICE_ADDRESS 0x10000000ul

typedef void function(void);

enum { ILLEGAL = 2, BREAKPOINT = 3, FETCH_PAGE = 12, LOAD_PAGE = 13, STORE_PAGE = 15 };

static void load(uintptr_t address) {
  (void)*(volatile char *)address;
}

static void store(uintptr_t address) {
  *(volatile char *)address = 1;
}

static void null_read(void) {
  load(0);
}
static void null_write(void) {
  store(0);
}
static void text_write(void) {
  store((uintptr_t)text_write);
}
static void constant_write(void) {
  store((uintptr_t)"constant");
}
static void data_execute(void) {
  static uint32_t instruction = 0x8067;
  ((function *)(uintptr_t)&instruction)();
}
static void kernel_read(void) {
  load(KERNEL_ADDRESS);
}
static void kernel_write(void) {
  store(KERNEL_ADDRESS);
}
static void kernel_execute(void) {
  ((function *)KERNEL_ADDRESS)();
}
static void device_read(void) {
  load(DEVICE_ADDRESS);
}
static void illegal(void) {
  __asm__ volatile(".half 0");
}
static void privileged_csr(void) {
  __asm__ volatile("csrr zero, sstatus");
}
static void privileged_return(void) {
  __asm__ volatile("sret");
}
static void breakpoint(void) {
  __asm__ volatile("ebreak");
}
static void stack_overflow(void) {
  for (uintptr_t at = (uintptr_t)__builtin_frame_address(0);; at -= 1024) store(at);
}

static const struct kind {
  const char *name;
  function *commit;
  int exception;
} kinds[] = {
  {"null-read", null_read, LOAD_PAGE},
  {"null-write", null_write, STORE_PAGE},
  {"text-write", text_write, STORE_PAGE},
  {"constant-write", constant_write, STORE_PAGE},
  {"data-execute", data_execute, FETCH_PAGE},
  {"kernel-read", kernel_read, LOAD_PAGE},
  {"kernel-write", kernel_write, STORE_PAGE},
  {"kernel-execute", kernel_execute, FETCH_PAGE},
  {"device-read", device_read, LOAD_PAGE},
  {"stack-overflow", stack_overflow, STORE_PAGE},
  {"illegal", illegal, ILLEGAL},
  {"privileged-csr", privileged_csr, ILLEGAL},
  {"privileged-return", privileged_return, ILLEGAL},
  {"breakpoint", breakpoint, BREAKPOINT},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static bool is_killed(const struct kind *kind) {
  int status = 0, pid = fork();
  if (pid == 0) {
    set_name(kind->name);
    kind->commit();
    exit(0);
  }
  bool right = pid > 0 && wait(pid, &status, 0) == pid && status == KILLED_BY_EXCEPTION + kind->exception;
  if (!right) printf("fault: %s: WRONG: status %d\n", kind->name, status);
  return right;
}

int fault_command(int argc, char **argv) {
  if (argc == 2) {
    for (size_t i = 0; i < KIND_COUNT; i++) {
      if (strcmp(kinds[i].name, argv[1]) == 0) kinds[i].commit();
    }
    printf("fault: kinds:");
    for (size_t i = 0; i < KIND_COUNT; i++) printf(" %s", kinds[i].name);
    printf("\n");
    return 2;
  }
  unsigned right = 0;
  for (size_t i = 0; i < KIND_COUNT; i++) right += is_killed(&kinds[i]);
  printf("fault: %u of %u killed, %s\n", right, (unsigned)KIND_COUNT, right == KIND_COUNT ? "ok" : "WRONG");
  return right == KIND_COUNT ? 0 : 1;
}
