/* What the user programs share: system calls, text output, the commands. */
#ifndef USER_H
#define USER_H

#include "guest.h"
#include "lib.h"

/* system.c: one function a system call; a negative result is an error_code. */
void exit(int status) __attribute__((noreturn));
long write(int fd, const void *from, size_t bytes);
long read(int fd, void *to, size_t bytes);
int fork(void);
int wait(int pid, int *status, unsigned flags);
void yield(void);
void sleep(unsigned milliseconds);
uint64_t ticks(void);
/* The start of that many more bytes at the heap's end, or 0 when memory is used up. */
void *grow(long bytes);
int kill(int pid);
int getpid(void);
int protect(void *address, size_t bytes, unsigned flags);
void get_system(struct system_info *info);
int get_process(unsigned slot, struct process_info *info);
void set_foreground(int pid);
void set_name(const char *name);
int power(unsigned action, unsigned status);
const char *error_text(int error);

void printf(const char *text, ...) __attribute__((format(printf, 1, 2)));
/* Reads a decimal or 0x number that fills the whole text. */
bool parse_number(const char *text, unsigned long *value);

/* line.c: one edited line without its end; false at the end of input (Ctrl-D on an empty line). */
bool read_line(const char *prompt, char *line, size_t size);

/* commands.c */
struct command {
  const char *name;
  const char *arguments;
  const char *help;
  int (*run)(int argc, char **argv);
};
const struct command *find_command(const char *name);
/* Runs a command in the calling process. */
int run_command(int argc, char **argv);
/* Says how the command is called; the status of a wrong call. */
int usage(const char *name);

/* The test commands, a file each. */
int burn_command(int argc, char **argv);
int touch_command(int argc, char **argv);
int smc_command(int argc, char **argv);
int fault_command(int argc, char **argv);
int fp_command(int argc, char **argv);
int clock_command(int argc, char **argv);
int digest_command(int argc, char **argv);

#endif
