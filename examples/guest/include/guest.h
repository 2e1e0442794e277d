/*
 * The interface between the kernel and its processes: system call numbers, error codes, and the structures that
 * calls fill in.
 *
 * A call is an `ecall` with the number in a7 and the arguments in a0..a2; the result comes back in a0, and a
 * negative result is an error code from below.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stdint.h>

enum system_call {
  SYS_EXIT = 1,       /* exit(status): ends the process; does not return */
  SYS_WRITE = 2,      /* write(fd, buffer, bytes): to the console; fd 1 and 2 */
  SYS_READ = 3,       /* read(fd, buffer, bytes): waits for at least one byte of input; fd 0 */
  SYS_FORK = 4,       /* fork(): 0 in the child, the child's pid in the parent */
  SYS_WAIT = 5,       /* wait(pid or -1, status or 0, WAIT_* flags): the pid that ended */
  SYS_YIELD = 6,      /* yield(): lets the other processes run first */
  SYS_SLEEP = 7,      /* sleep(milliseconds) */
  SYS_TIME = 8,       /* time(uint64_t *ticks): the timer, in units of the timebase */
  SYS_SBRK = 9,       /* sbrk(bytes): moves the end of the heap; returns its old address */
  SYS_KILL = 10,      /* kill(pid) */
  SYS_GETPID = 11,    /* getpid() */
  SYS_PROTECT = 12,   /* protect(address, bytes, PROTECT_* flags): whole pages of the image, heap or stack */
  SYS_SYSTEM = 13,    /* system(struct system_info *) */
  SYS_PROCESS = 14,   /* process(slot, struct process_info *): -ERROR_SEARCH for a free slot */
  SYS_FOREGROUND = 15, /* foreground(pid or 0): the process that Ctrl-C kills, with its descendants */
  SYS_NAME = 16,      /* name(text): the process's name as ps shows it */
  SYS_POWER = 17,     /* power(POWER_* action, status): does not return where the platform obeys */
};

enum error_code {
  ERROR_PERMISSION = 1,
  ERROR_SEARCH = 2,
  ERROR_DESCRIPTOR = 3,
  ERROR_MEMORY = 4,
  ERROR_FAULT = 5,
  ERROR_CHILD = 6,
  ERROR_INVALID = 7,
  ERROR_CALL = 8,
  ERROR_DEVICE = 9,
};

enum { WAIT_POLL = 1 };
enum { PROTECT_WRITE = 1, PROTECT_EXECUTE = 2 };
enum { POWER_OFF = 0, POWER_REBOOT = 1 };

/* The status that wait() gives: 0 to 255 is the process's own, from STATUS_KILLED up the kernel ended it. */
#define STATUS_KILLED 256
enum kill_reason {
  KILLED_BY_PROCESS = STATUS_KILLED, /* kill() or Ctrl-C */
  KILLED_BY_MEMORY = STATUS_KILLED + 1, /* no page left for it */
  KILLED_BY_EXCEPTION = STATUS_KILLED + 16, /* plus the exception code of scause */
};

#define MAX_PROCESSES 32
#define NAME_BYTES 24

enum process_state { PROCESS_FREE, PROCESS_READY, PROCESS_READING, PROCESS_WAITING, PROCESS_SLEEPING, PROCESS_ENDED };

struct process_info {
  int pid;
  int parent;
  unsigned state; /* enum process_state */
  unsigned pages; /* pages of memory that it maps, shared ones included */
  uint64_t cpu_ticks;
  char name[NAME_BYTES];
};

struct system_info {
  uint64_t timebase; /* ticks of the timer in a second */
  uint64_t uptime_ticks;
  uint64_t idle_ticks; /* of these, how many passed with no process ready */
  uint64_t memory_bytes;
  uint64_t free_bytes;
  uint64_t system_calls;
  uint64_t switches;
  uint64_t timer_interrupts;
  uint64_t device_interrupts;
  uint64_t zero_pages; /* pages given on first touch */
  uint64_t copied_pages; /* pages copied on the first write after a fork */
  unsigned xlen;
  unsigned harts;
  unsigned boot_hart;
  unsigned sbi_version; /* major in bits 30..24, minor in bits 23..0 */
  unsigned sbi_implementation;
  char isa[256];
  char mmu[16]; /* the mode that the kernel runs in */
  char model[48];
  char console[16];
  char timer[16];
};

#endif
