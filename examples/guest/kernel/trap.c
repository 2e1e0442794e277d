/*
 * Traps (privileged specification, section "Supervisor Cause Register"): interrupts, system calls, page faults that
 * bring memory in, the first use of floating point; every other exception ends its process with a message.
 */
#include "kernel.h"

#define CAUSE_INTERRUPT (1ul << (__riscv_xlen - 1))
enum { CAUSE_ILLEGAL = 2, CAUSE_CALL = 8, CAUSE_FETCH_PAGE = 12, CAUSE_LOAD_PAGE = 13, CAUSE_STORE_PAGE = 15 };

uint64_t timer_interrupts, device_interrupts;

static const char *const exception_names[16] = {
  [0] = "misaligned instruction address",
  [1] = "instruction access fault",
  [2] = "illegal instruction",
  [3] = "breakpoint",
  [4] = "misaligned load",
  [5] = "load access fault",
  [6] = "misaligned store",
  [7] = "store access fault",
  [12] = "instruction page fault",
  [13] = "load page fault",
  [15] = "store page fault",
};

static const char *exception_name(unsigned long cause) {
  const char *name = cause < 16 ? exception_names[cause] : 0;
  return name != 0 ? name : "unknown exception";
}

/* An S-mode trap is a defect of this kernel, and interrupts are off in S-mode. */
void trap_in_kernel(void) {
  panic("%s in the kernel at pc %p, address %p, scause %lx", exception_name(read_csr(scause)), (void *)read_csr(sepc),
        (void *)read_csr(stval), read_csr(scause));
}

bool trap_poll_interrupts(void) {
  unsigned long pending = read_csr(sip) & read_csr(sie);
  if ((pending & INTERRUPT_EXTERNAL) != 0) {
    for (unsigned interrupt = plic_claim(); interrupt != 0; interrupt = plic_claim()) {
      device_interrupts++;
      if (interrupt == machine.uart_interrupt) console_receive();
      plic_complete(interrupt);
    }
  }
  if ((pending & INTERRUPT_TIMER) != 0) {
    timer_interrupts++;
    if (console_is_polled()) console_receive();
  }
  return (pending & INTERRUPT_TIMER) != 0;
}

static void kill_for_exception(unsigned long cause, unsigned long value) {
  kprintf("guest: process %d (%s) killed: %s at pc %p, value %p\n", current->pid, current->name, exception_name(cause),
          (void *)current->frame.pc, (void *)value);
  process_end(current, KILLED_BY_EXCEPTION + (int)cause);
}

static void page_fault(unsigned long cause, unsigned long va) {
  enum access access = cause == CAUSE_STORE_PAGE ? ACCESS_WRITE : cause == CAUSE_LOAD_PAGE ? ACCESS_READ : ACCESS_EXECUTE;
  enum fault_result result = vm_fault(current, va, access);
  if (result == FAULT_INVALID) {
    kill_for_exception(cause, va);
  } else if (result == FAULT_NO_MEMORY) {
    kprintf("guest: process %d (%s) killed: out of memory\n", current->pid, current->name);
    process_end(current, KILLED_BY_MEMORY);
  }
}

struct frame *trap_handle(void) {
  unsigned long cause = read_csr(scause), value = read_csr(stval);
  struct process *interrupted = current;
  bool reschedule = false;
  if ((cause & CAUSE_INTERRUPT) != 0) {
    reschedule = trap_poll_interrupts();
  } else if (cause == CAUSE_CALL) {
    reschedule = system_call(current);
  } else if (cause == CAUSE_FETCH_PAGE || cause == CAUSE_LOAD_PAGE || cause == CAUSE_STORE_PAGE) {
    page_fault(cause, value);
  } else if (cause == CAUSE_ILLEGAL && (current->frame.status & SSTATUS_FS) == 0) {
    /* Perhaps a first floating-point instruction: it runs again with the unit on, and any other traps once more. */
    process_enable_fp();
  } else {
    kill_for_exception(cause, value);
  }
  if (reschedule || current != interrupted || current->state != PROCESS_READY) process_schedule();
  vm_activate(current);
  return &current->frame;
}
