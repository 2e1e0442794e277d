/*
 * System calls. Each gives its result, or BLOCKED after it has put its process into a waiting state: the pc then
 * stays at the `ecall`, which runs again when the process is woken.
 */
#include "kernel.h"

#define BLOCKED (-1000)

uint64_t system_calls;

static long call_write(struct process *process, int fd, uintptr_t va, size_t bytes) {
  if (fd != 1 && fd != 2) return -ERROR_DESCRIPTOR;
  char part[128];
  for (size_t done = 0; done < bytes;) {
    size_t count = bytes - done < sizeof part ? bytes - done : sizeof part;
    if (!vm_copy_in(process, part, va + done, count)) return -ERROR_FAULT;
    for (size_t i = 0; i < count; i++) console_put(part[i]);
    done += count;
  }
  return (long)bytes;
}

static long call_read(struct process *process, int fd, uintptr_t va, size_t bytes) {
  if (fd != 0) return -ERROR_DESCRIPTOR;
  if (bytes == 0) return 0;
  char part[64];
  size_t count = console_read(part, bytes < sizeof part ? bytes : sizeof part);
  if (count == 0) {
    process->state = PROCESS_READING;
    return BLOCKED;
  }
  return vm_copy_out(process, va, part, count) ? (long)count : -ERROR_FAULT;
}

static long call_wait(struct process *process, int pid, uintptr_t status, unsigned flags) {
  bool has_child = false;
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    struct process *child = &processes[i];
    if (child->state == PROCESS_FREE || child->parent != process || (pid != -1 && child->pid != pid)) continue;
    has_child = true;
    if (child->state != PROCESS_ENDED) continue;
    int32_t value = child->status;
    if (status != 0 && !vm_copy_out(process, status, &value, sizeof value)) return -ERROR_FAULT;
    process_release(child);
    return child->pid;
  }
  if (!has_child) return -ERROR_CHILD;
  if ((flags & WAIT_POLL) != 0) return 0;
  process->state = PROCESS_WAITING;
  return BLOCKED;
}

static long call_sleep(struct process *process, unsigned milliseconds) {
  process->wake_at = timer_now() + timer_ticks(milliseconds);
  process->state = PROCESS_SLEEPING;
  return 0;
}

static long call_sbrk(struct process *process, long bytes) {
  uintptr_t old = process->heap_end, new = old + (uintptr_t)bytes;
  if ((bytes >= 0) != (new >= old) || new < process->heap_start) return -ERROR_INVALID;
  if (new > STACK_TOP - STACK_BYTES - PAGE_BYTES) return -ERROR_MEMORY;
  if (new > old && (PAGE_UP(new) - PAGE_UP(old)) / PAGE_BYTES > page_free()) return -ERROR_MEMORY;
  process->heap_end = new;
  if (PAGE_UP(new) < PAGE_UP(old)) vm_unmap(process, PAGE_UP(new), PAGE_UP(old));
  return (long)old;
}

static long call_kill(int pid) {
  struct process *victim = process_find(pid);
  if (victim == 0) return -ERROR_SEARCH;
  if (pid == 1) return -ERROR_PERMISSION;
  process_end(victim, KILLED_BY_PROCESS);
  return 0;
}

static long call_system(struct process *process, uintptr_t va) {
  static struct system_info info;
  info = (struct system_info){
    .timebase = machine.timebase,
    .uptime_ticks = timer_uptime(),
    .idle_ticks = process_idle_ticks,
    .memory_bytes = (uint64_t)page_total() * PAGE_BYTES,
    .free_bytes = (uint64_t)page_free() * PAGE_BYTES,
    .system_calls = system_calls,
    .switches = process_switches,
    .timer_interrupts = timer_interrupts,
    .device_interrupts = device_interrupts,
    .zero_pages = vm_zero_pages,
    .copied_pages = vm_copied_pages,
    .xlen = __riscv_xlen,
    .harts = machine.harts,
    .boot_hart = machine.boot_hart,
    .sbi_version = sbi_version,
    .sbi_implementation = sbi_implementation,
  };
  copy_text(info.isa, machine.isa, sizeof info.isa);
  copy_text(info.mmu, vm_mode, sizeof info.mmu);
  copy_text(info.model, machine.model, sizeof info.model);
  copy_text(info.console, console_name(), sizeof info.console);
  copy_text(info.timer, timer_name(), sizeof info.timer);
  return vm_copy_out(process, va, &info, sizeof info) ? 0 : -ERROR_FAULT;
}

static long call_process(struct process *process, unsigned slot, uintptr_t va) {
  if (slot >= MAX_PROCESSES) return -ERROR_INVALID;
  struct process *other = &processes[slot];
  if (other->state == PROCESS_FREE) return -ERROR_SEARCH;
  struct process_info info = {
    .pid = other->pid,
    .parent = other->parent == 0 ? 0 : other->parent->pid,
    .state = other->state,
    .pages = other->pages,
    .cpu_ticks = process_cpu_ticks(other),
  };
  copy_text(info.name, other->name, NAME_BYTES);
  return vm_copy_out(process, va, &info, sizeof info) ? 0 : -ERROR_FAULT;
}

static long call_name(struct process *process, uintptr_t va) {
  char name[NAME_BYTES] = {0};
  for (unsigned i = 0; i < NAME_BYTES - 1; i++) {
    if (!vm_copy_in(process, &name[i], va + i, 1)) return -ERROR_FAULT;
    if (name[i] == 0) break;
  }
  memcpy(process->name, name, NAME_BYTES);
  return 0;
}

static long call_power(unsigned action, unsigned status) {
  if (action > POWER_REBOOT || status > 255) return -ERROR_INVALID;
  if (status != 0 && machine.finisher.start == 0) return -ERROR_DEVICE;
  power(action == POWER_REBOOT, status);
  return -ERROR_DEVICE;
}

static long dispatch(struct process *process, unsigned long number, unsigned long a, unsigned long b, unsigned long c) {
  switch (number) {
    case SYS_EXIT:
      process_end(process, (int)(a & 255));
      return 0;
    case SYS_WRITE:
      return call_write(process, (int)a, b, c);
    case SYS_READ:
      return call_read(process, (int)a, b, c);
    case SYS_FORK:
      return process_fork();
    case SYS_WAIT:
      return call_wait(process, (int)a, b, (unsigned)c);
    case SYS_YIELD:
      return 0;
    case SYS_SLEEP:
      return call_sleep(process, (unsigned)a);
    case SYS_TIME: {
      uint64_t now = timer_now();
      return vm_copy_out(process, a, &now, sizeof now) ? 0 : -ERROR_FAULT;
    }
    case SYS_SBRK:
      return call_sbrk(process, (long)a);
    case SYS_KILL:
      return call_kill((int)a);
    case SYS_GETPID:
      return process->pid;
    case SYS_PROTECT:
      return vm_protect(process, a, b, (unsigned)c) ? 0 : -ERROR_FAULT;
    case SYS_SYSTEM:
      return call_system(process, a);
    case SYS_PROCESS:
      return call_process(process, (unsigned)a, b);
    case SYS_FOREGROUND:
      process_set_foreground((int)a);
      return 0;
    case SYS_NAME:
      return call_name(process, a);
    case SYS_POWER:
      return call_power((unsigned)a, (unsigned)b);
    default:
      return -ERROR_CALL;
  }
}

bool system_call(struct process *process) {
  struct frame *frame = &process->frame;
  unsigned long number = frame->x[17];
  system_calls++;
  if (number == SYS_FORK) frame->pc += 4; /* before the child copies it */
  long result = dispatch(process, number, frame->x[10], frame->x[11], frame->x[12]);
  if (result == BLOCKED || process->state == PROCESS_ENDED) return false;
  frame->x[10] = (unsigned long)result;
  if (number != SYS_FORK) frame->pc += 4;
  return number == SYS_YIELD;
}
