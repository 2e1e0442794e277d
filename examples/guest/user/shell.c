/*
 * The shell, process 1. Commands are functions of its own image, so running one is a fork and a call. A line holds
 * commands that `;` and `&` end; `&` leaves its command in the background.
 */
#include "user.h"

#define MAX_ARGUMENTS 16

static void report(int pid, const char *name, int status) {
  if (status == 0) return;
  if (status == KILLED_BY_PROCESS) printf("%s (%d): killed\n", name, pid);
  else if (status < STATUS_KILLED) printf("%s (%d): status %d\n", name, pid, status);
}

static void start(int argc, char **argv, bool background) {
  if (find_command(argv[0]) == 0) {
    printf("%s: no such command: try help\n", argv[0]);
    return;
  }
  int pid = fork();
  if (pid < 0) {
    printf("%s: %s\n", argv[0], error_text(pid));
    return;
  }
  if (pid == 0) {
    set_name(argv[0]);
    exit(run_command(argc, argv));
  }
  if (background) {
    printf("[%d] %s\n", pid, argv[0]);
    return;
  }
  int status = 0;
  set_foreground(pid);
  wait(pid, &status, 0);
  set_foreground(0);
  report(pid, argv[0], status);
}

/* Collects processes that ended in the background; all of them, and waiting for them, where `flags` is 0. */
static void collect(unsigned flags) {
  int status, pid;
  while ((pid = wait(-1, &status, flags)) > 0) {
    if (status < STATUS_KILLED) printf("[%d] ended: status %d\n", pid, status);
    else printf("[%d] ended: killed\n", pid);
  }
}

static void run(int argc, char **argv, bool background) {
  if (argc == 0) return;
  if (strcmp(argv[0], "wait") == 0) collect(0);
  else start(argc, argv, background);
}

static void run_line(char *line) {
  char *argv[MAX_ARGUMENTS + 1];
  int argc = 0;
  for (char *at = line;;) {
    while (*at == ' ' || *at == '\t') *at++ = 0;
    if (*at == ';' || *at == '&' || *at == 0) {
      char end = *at;
      *at++ = 0;
      argv[argc] = 0;
      run(argc, argv, end == '&');
      argc = 0;
      if (end == 0) return;
      continue;
    }
    if (argc == MAX_ARGUMENTS) {
      printf("more than %d words in a command\n", MAX_ARGUMENTS);
      return;
    }
    argv[argc++] = at;
    while (*at != 0 && *at != ' ' && *at != '\t' && *at != ';' && *at != '&') at++;
  }
}

int main(void) {
  char line[160];
  printf("Type help for the commands.\n");
  while (read_line("guest# ", line, sizeof line)) {
    run_line(line);
    collect(WAIT_POLL);
  }
  return power(POWER_OFF, 0);
}
