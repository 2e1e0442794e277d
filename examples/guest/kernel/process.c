/*
 * Processes: a table of slots, scheduled round robin in slices of ten milliseconds. Process 1 is the shell; it adopts
 * the children of processes that end, and the machine ends with it.
 *
 * Floating-point registers are saved only from a process that has written them (sstatus.FS says so) and loaded only
 * into one that uses them: a process starts with the unit off and its first use of it traps.
 */
#include "kernel.h"

#define SLICE_MILLISECONDS 10
#define POLL_MILLISECONDS 10

struct process processes[MAX_PROCESSES];
struct process *current;
uint64_t process_switches, process_idle_ticks;
static struct process *fp_owner; /* whose values the f registers hold, if anyone's */
static uint64_t switched_at;
static int last_pid;
static int foreground;

extern char user_image[];

/* ELF, "System V gABI" chapters 4 and 5: the fields that loading needs, in both classes. */
struct elf_header {
  unsigned char identification[16];
  uint16_t type, machine;
  uint32_t version;
  unsigned long entry, program_offset, section_offset;
  uint32_t flags;
  uint16_t header_bytes, program_bytes, program_count;
};
struct program_header {
  uint32_t type;
#if __riscv_xlen == 64
  uint32_t flags;
#endif
  unsigned long offset, va, pa, file_bytes, memory_bytes;
#if __riscv_xlen == 32
  uint32_t flags;
#endif
  unsigned long align;
};
enum { SEGMENT_LOAD = 1, SEGMENT_EXECUTE = 1, SEGMENT_WRITE = 2 };

static void load_segment(struct process *process, const struct program_header *segment) {
  pte_t flags = PTE_R | (segment->flags & SEGMENT_WRITE ? PTE_W : 0) | (segment->flags & SEGMENT_EXECUTE ? PTE_X : 0);
  for (unsigned long at = 0; at < segment->memory_bytes; at += PAGE_BYTES) {
    char *page = page_allocate();
    if (page == 0 || !vm_map(process, segment->va + at, page, flags)) panic("no memory for the first process");
    size_t filled = at < segment->file_bytes ? segment->file_bytes - at : 0;
    if (filled > PAGE_BYTES) filled = PAGE_BYTES;
    memcpy(page, user_image + segment->offset + at, filled);
    memset(page + filled, 0, PAGE_BYTES - filled);
  }
  if (segment->va + segment->memory_bytes > process->heap_start) {
    process->heap_start = process->heap_end = PAGE_UP(segment->va + segment->memory_bytes);
  }
}

void process_start_first(void) {
  const struct elf_header *header = (const struct elf_header *)user_image;
  const struct program_header *segments = (const struct program_header *)(user_image + header->program_offset);
  struct process *process = &processes[0];
  process->root = vm_create();
  if (process->root == 0) panic("no memory for the first process");
  for (unsigned i = 0; i < header->program_count; i++) {
    if (segments[i].type == SEGMENT_LOAD) load_segment(process, &segments[i]);
  }
  __asm__ volatile("fence.i" ::: "memory");
  process->pid = last_pid = 1;
  process->state = PROCESS_READY;
  process->frame.pc = header->entry;
  process->frame.x[2] = STACK_TOP;
  process->frame.status = SSTATUS_SPIE;
  copy_text(process->name, "shell", NAME_BYTES);
  switched_at = timer_now();
}

static void save_fp(void) {
  if (current == 0 || (current->frame.status & SSTATUS_FS) != SSTATUS_FS_DIRTY) return;
  fp_save(current->f, &current->fcsr);
  current->frame.status = (current->frame.status & ~SSTATUS_FS) | SSTATUS_FS_CLEAN;
  fp_owner = current;
}

static void load_fp(void) {
  if ((current->frame.status & SSTATUS_FS) == 0 || fp_owner == current) return;
  fp_restore(current->f, &current->fcsr);
  fp_owner = current;
}

void process_enable_fp(void) {
  current->frame.status |= SSTATUS_FS_INITIAL;
  memset(current->f, 0, sizeof current->f);
  current->fcsr = 0;
  load_fp();
}

int process_fork(void) {
  struct process *child = 0;
  for (unsigned i = 0; i < MAX_PROCESSES && child == 0; i++) {
    if (processes[i].state == PROCESS_FREE) child = &processes[i];
  }
  if (child == 0) return -ERROR_MEMORY;
  save_fp();
  *child = *current;
  child->pid = ++last_pid;
  child->parent = current;
  child->pages = 0;
  child->cpu_ticks = 0;
  child->root = vm_create();
  if (child->root == 0 || !vm_fork(current, child)) {
    if (child->root != 0) vm_destroy(child);
    child->state = PROCESS_FREE;
    return -ERROR_MEMORY;
  }
  child->frame.x[10] = 0;
  return child->pid;
}

void process_end(struct process *process, int status) {
  if (process->pid == 1) panic("the shell ended with status %d", status);
  if (process == current) {
    process->cpu_ticks = process_cpu_ticks(process);
    current = 0;
    switched_at = timer_now();
  }
  if (fp_owner == process) fp_owner = 0;
  vm_destroy(process);
  process->state = PROCESS_ENDED;
  process->status = status;
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    if (processes[i].state != PROCESS_FREE && processes[i].parent == process) processes[i].parent = &processes[0];
  }
  if (foreground == process->pid) foreground = 0;
  process_wake(PROCESS_WAITING);
}

static void end_descendants(struct process *process) {
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    struct process *child = &processes[i];
    if (child->state == PROCESS_FREE || child->state == PROCESS_ENDED || child->parent != process) continue;
    end_descendants(child);
    process_end(child, KILLED_BY_PROCESS);
  }
}

void process_interrupt(void) {
  struct process *process = foreground == 0 ? 0 : process_find(foreground);
  if (process == 0) {
    console_insert(3);
    return;
  }
  end_descendants(process);
  process_end(process, KILLED_BY_PROCESS);
}

void process_release(struct process *process) {
  process->state = PROCESS_FREE;
  process->parent = 0;
}

struct process *process_find(int pid) {
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    struct process *process = &processes[i];
    if (process->pid == pid && process->state != PROCESS_FREE && process->state != PROCESS_ENDED) return process;
  }
  return 0;
}

void process_wake(enum process_state waiting_for) {
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    if (processes[i].state == waiting_for) processes[i].state = PROCESS_READY;
  }
}

void process_set_foreground(int pid) {
  foreground = pid;
  /* Ctrl-C may come while the shell still starts the process. */
  if (pid != 0 && console_take_interrupt()) process_interrupt();
}

uint64_t process_cpu_ticks(struct process *process) {
  return process->cpu_ticks + (process == current ? timer_now() - switched_at : 0);
}

/* Wakes whoever has slept long enough; returns when the next one is due. */
static uint64_t wake_sleepers(uint64_t now) {
  uint64_t next = UINT64_MAX;
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    struct process *process = &processes[i];
    if (process->state != PROCESS_SLEEPING) continue;
    if (process->wake_at <= now) process->state = PROCESS_READY;
    else if (process->wake_at < next) next = process->wake_at;
  }
  return next;
}

static struct process *next_ready(const struct process *after) {
  unsigned start = after == 0 ? 0 : (unsigned)(after - processes) + 1;
  for (unsigned i = 0; i < MAX_PROCESSES; i++) {
    struct process *process = &processes[(start + i) % MAX_PROCESSES];
    if (process->state == PROCESS_READY) return process;
  }
  return 0;
}

static uint64_t earlier(uint64_t left, uint64_t right) {
  return left < right ? left : right;
}

void process_schedule(void) {
  static struct process *last;
  uint64_t now = timer_now();
  save_fp();
  if (current != 0) {
    current->cpu_ticks = process_cpu_ticks(current);
    last = current;
  }
  current = 0;
  for (;;) {
    uint64_t due = wake_sleepers(now);
    struct process *next = next_ready(last);
    if (next != 0) {
      timer_arm(earlier(due, now + timer_ticks(SLICE_MILLISECONDS)));
      if (next != last) process_switches++;
      current = next;
      switched_at = now;
      break;
    }
    timer_arm(console_is_polled() ? earlier(due, now + timer_ticks(POLL_MILLISECONDS)) : due);
    __asm__ volatile("wfi");
    trap_poll_interrupts();
    uint64_t woken_at = timer_now();
    process_idle_ticks += woken_at - now;
    now = woken_at;
  }
  load_fp();
}
