/* A command as the host describes it, and its start as a process. */
#ifndef COMMAND_H
#define COMMAND_H

#include "system.h"
#include "user.h"

/* Texts one after another, each with its 0. */
struct texts {
  char *base;
  size_t used;
  size_t count;
};

struct command {
  struct texts arguments, variables;
  char folder[4096];
  bool has_folder;
  struct user user;
  bool has_terminal;
  struct winsize size;
  /* Of the process that was started. */
  long pid;
  /* The ends of its pipes that are here; all the terminal's where it has one, and then without `errors`. -1: closed. */
  int input, output, errors;
};

/* Keeps a copy of a text; false where there is no room for it. */
bool add_text(struct texts *texts, const char *text, size_t length);
/* Starts it. Where that fails, says so to the host and ends this process. */
void start_command(struct command *command);

#endif
