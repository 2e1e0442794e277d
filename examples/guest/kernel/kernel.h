/*
 * The kernel's modules and what each offers the others.
 *
 * The kernel runs on one hart and on one stack, with interrupts off: a trap from U-mode saves the process's registers
 * in its own structure, is handled to its end, and the next process is resumed from there. A system call that must
 * wait leaves its process blocked with the pc still at the `ecall`, so that waking it repeats the call. No kernel
 * context is therefore ever switched, and a trap that comes from S-mode itself is a fault of the kernel.
 */
#ifndef KERNEL_H
#define KERNEL_H

#include "guest.h"
#include "lib.h"

#define PAGE_BYTES 4096ul
#define PAGE_DOWN(address) ((uintptr_t)(address) & ~(PAGE_BYTES - 1))
#define PAGE_UP(address) PAGE_DOWN((uintptr_t)(address) + PAGE_BYTES - 1)

/* Where processes live. The kernel maps memory and devices at their physical addresses around this window. */
#define USER_START 0x40000000ul
#define USER_END 0x80000000ul
#define STACK_TOP (USER_END - PAGE_BYTES)
#define STACK_BYTES 0x40000ul

#define read_csr(name)                                      \
  ({                                                        \
    unsigned long value_;                                   \
    __asm__ volatile("csrr %0, " #name : "=r"(value_));     \
    value_;                                                 \
  })
#define write_csr(name, value) __asm__ volatile("csrw " #name ", %0" ::"r"((unsigned long)(value)) : "memory")
#define set_csr(name, value) __asm__ volatile("csrs " #name ", %0" ::"r"((unsigned long)(value)) : "memory")

/* sstatus, privileged specification, section "Supervisor Status Register". */
#define SSTATUS_SPIE (1ul << 5)
#define SSTATUS_SPP (1ul << 8)
#define SSTATUS_FS (3ul << 13)
#define SSTATUS_FS_INITIAL (1ul << 13)
#define SSTATUS_FS_CLEAN (2ul << 13)
#define SSTATUS_FS_DIRTY (3ul << 13)
#define INTERRUPT_TIMER (1ul << 5)
#define INTERRUPT_EXTERNAL (1ul << 9)

/* printf.c */
void kprintf(const char *text, ...) __attribute__((format(printf, 1, 2)));
/* Says why on the console and ends the machine with status 1. */
void panic(const char *text, ...) __attribute__((format(printf, 1, 2), noreturn));

/* sbi.c: calls of the SBI (Supervisor Binary Interface 2.0); each returns false where firmware has no such service. */
void sbi_init(void);
extern unsigned sbi_version, sbi_implementation;
void sbi_set_timer(uint64_t deadline);
void sbi_put(char c);
/* The next byte of the firmware's console, or -1. */
int sbi_get(void);
/* Asks for a shutdown or a cold reboot; returns only where firmware can't. */
void sbi_reset(bool reboot);

/* fdt.c: what the flattened device tree says about the machine. */
#define MAX_RESERVED 16
struct range {
  uintptr_t start;
  uintptr_t end;
};
struct machine {
  struct range memory;
  struct range reserved[MAX_RESERVED];
  unsigned reserved_count;
  unsigned timebase;
  unsigned harts;
  unsigned boot_hart;
  struct range uart;
  unsigned uart_interrupt;
  struct range plic;
  unsigned plic_context; /* of the boot hart's S-mode */
  struct range finisher;
  bool sstc;
  char isa[256];
  char model[48];
};
extern struct machine machine;
void fdt_read(const void *blob, unsigned boot_hart);

/* page.c: physical pages, each with a count of its users. */
void page_init(void);
/* A page with one user and undefined contents, or 0 when memory is used up. */
void *page_allocate(void);
void page_share(void *page);
void page_release(void *page);
unsigned page_users(void *page);
size_t page_total(void);
size_t page_free(void);

/* vm.c: page tables: Sv39 in the 64-bit kernel, Sv32 in the 32-bit one. */
typedef unsigned long pte_t;
#define PTE_V 0x001ul
#define PTE_R 0x002ul
#define PTE_W 0x004ul
#define PTE_X 0x008ul
#define PTE_U 0x010ul
#define PTE_G 0x020ul
#define PTE_A 0x040ul
#define PTE_D 0x080ul
#define PTE_COPY 0x100ul /* RSW bit: write-protected only because the page is shared since a fork */

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXECUTE };
enum fault_result { FAULT_RESOLVED, FAULT_INVALID, FAULT_NO_MEMORY };

struct process;
extern const char vm_mode[];
extern uint64_t vm_zero_pages, vm_copied_pages;
void vm_init(void);
/* A root table that maps the kernel, or 0. */
pte_t *vm_create(void);
void vm_destroy(struct process *process);
bool vm_map(struct process *process, uintptr_t va, void *page, pte_t flags);
void vm_unmap(struct process *process, uintptr_t start, uintptr_t end);
/* Gives the child every page of the parent; pages that may be written are copied at the first write. */
bool vm_fork(struct process *parent, struct process *child);
enum fault_result vm_fault(struct process *process, uintptr_t va, enum access access);
bool vm_protect(struct process *process, uintptr_t va, size_t bytes, unsigned flags);
void vm_activate(struct process *process);
bool vm_copy_in(struct process *process, void *to, uintptr_t va, size_t bytes);
bool vm_copy_out(struct process *process, uintptr_t va, const void *from, size_t bytes);

/* process.c */
struct frame {
  unsigned long x[32]; /* x[0] is not used */
  unsigned long pc;
  unsigned long status; /* sstatus */
};
struct process {
  struct frame frame; /* first: trap.S finds the registers here */
  uint64_t f[32];
  unsigned long fcsr;
  int pid;
  enum process_state state;
  struct process *parent;
  pte_t *root;
  unsigned pages;
  uintptr_t heap_start;
  uintptr_t heap_end;
  uint64_t wake_at;
  uint64_t cpu_ticks;
  int status;
  char name[NAME_BYTES];
};
extern struct process processes[MAX_PROCESSES];
extern struct process *current;
extern uint64_t process_switches, process_idle_ticks;
void process_start_first(void);
int process_fork(void);
/* Turns floating point on in the current process, all registers zero. */
void process_enable_fp(void);
void process_end(struct process *process, int status);
void process_interrupt(void);
void process_release(struct process *process);
struct process *process_find(int pid);
void process_wake(enum process_state waiting_for);
void process_set_foreground(int pid);
uint64_t process_cpu_ticks(struct process *process);
/* Makes `current` the process to run next, waiting in `wfi` until there is one. */
void process_schedule(void);

/* fp.S */
void fp_save(uint64_t f[32], unsigned long *fcsr);
void fp_restore(const uint64_t f[32], const unsigned long *fcsr);

/* trap.S, trap.c */
void trap_entry(void);
void trap_return(struct frame *frame) __attribute__((noreturn));
struct frame *trap_handle(void);
extern uint64_t timer_interrupts, device_interrupts;
/* Handles what is pending in sip; returns whether a time slice is over. */
bool trap_poll_interrupts(void);

/* syscall.c */
extern uint64_t system_calls;
/* Carries out the call in the process's registers; returns whether it asked to let others run. */
bool system_call(struct process *process);

/* timer.c */
void timer_init(void);
const char *timer_name(void);
uint64_t timer_now(void);
/* Ticks since the kernel started. */
uint64_t timer_uptime(void);
uint64_t timer_ticks(unsigned milliseconds);
void timer_arm(uint64_t deadline);

/* plic.c */
void plic_init(void);
void plic_enable(unsigned interrupt);
unsigned plic_claim(void);
void plic_complete(unsigned interrupt);

/* console.c */
void console_init(void);
const char *console_name(void);
/* Whether input has to be asked for, since no interrupt tells of it. */
bool console_is_polled(void);
void console_put(char c);
/* Takes what the device has received; called at its interrupt, or at ticks where it is polled. */
void console_receive(void);
/* Puts a byte into the input. */
void console_insert(char c);
/* Whether Ctrl-C waits in the input, which is dropped up to it. */
bool console_take_interrupt(void);
size_t console_read(char *to, size_t bytes);

/* power.c */
/* Ends or restarts the machine; returns where the platform has no way to. */
void power(bool reboot, unsigned status);

#endif
