/*
 * Starts a command: pipes or a terminal, a session of its own, the user, the folder, the program. What fails in the new
 * process comes back through a pipe that a successful execve() closes.
 */
#include "command.h"
#include "frame.h"

/* Linux takes no more of arguments and variables together (a quarter of 8 MiB of stack, by default). */
#define TEXTS_BYTES (2 << 20)

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* What a new process could not do. */
struct failure {
  uint32_t step;
  int32_t error;
};
enum step { STEP_START, STEP_USER, STEP_FOLDER, STEP_PROGRAM };

bool add_text(struct texts *texts, const char *text, size_t length) {
  if (texts->base == 0) texts->base = map_pages(TEXTS_BYTES);
  if (length >= TEXTS_BYTES - texts->used) return false;
  memcpy(texts->base + texts->used, text, length);
  texts->base[texts->used + length] = 0;
  texts->used += length + 1;
  texts->count++;
  return true;
}

/* The addresses of texts, then 0; with one free place in front. */
static char **table_of(const struct texts *texts) {
  char **table = (char **)map_pages((texts->count + 2) * sizeof(char *)) + 1;
  char *at = texts->base;
  for (size_t index = 0; index < texts->count; index++) {
    table[index] = at;
    at += strlen(at) + 1;
  }
  return table;
}

/* The value of a variable, or 0. */
static const char *value_of(const struct texts *variables, const char *name) {
  const char *at = variables->base;
  size_t length = strlen(name);
  for (size_t index = 0; index < variables->count; index++, at += strlen(at) + 1)
    if (starts_with(at, name) && at[length] == '=') return at + length + 1;
  return 0;
}

static void add_default(struct texts *variables, const char *name, const char *value) {
  char text[USER_TEXT + sizeof default_path];
  if (variables->count > 0 && value_of(variables, name) != 0) return;
  size_t length = append(text, 0, sizeof text, name);
  length = append(text, length, sizeof text, "=");
  length = append(text, length, sizeof text, value);
  add_text(variables, text, length);
}

static void add_defaults(struct command *command) {
  struct texts *variables = &command->variables;
  const struct user *user = &command->user;
  add_default(variables, "PATH", default_path);
  add_default(variables, "HOME", user->home);
  add_default(variables, "USER", user->name);
  add_default(variables, "LOGNAME", user->name);
  add_default(variables, "SHELL", user->shell);
  if (command->has_terminal) add_default(variables, "TERM", "linux");
}

/* Runs a program; a file that is none is a script of the shell, as execvp() has it (POSIX, exec). */
static long run_file(const char *path, char **arguments, char **variables) {
  long error = SYS_3(SYS_EXECVE, path, arguments, variables);
  if (error != -ENOEXEC) return error;
  char *first = arguments[0];
  arguments[-1] = "sh";
  arguments[0] = (char *)path;
  SYS_3(SYS_EXECVE, "/bin/sh", arguments - 1, variables);
  arguments[0] = first;
  return error;
}

/* Runs the program of a name, which is looked for as execvp() does. Gives why it could not. */
static long run_program(const char *name, const char *folders, char **arguments, char **variables) {
  if (*name == 0) return -ENOENT;
  if (*find(name, '/') != 0) return run_file(name, arguments, variables);
  long result = -ENOENT;
  for (const char *at = folders;; at++) {
    char path[4096];
    const char *end = find(at, ':');
    size_t length = (size_t)(end - at);
    if (length + strlen(name) + 2 <= sizeof path) {
      memcpy(path, at, length);
      path[length] = 0;
      if (length > 0) length = append(path, length, sizeof path, "/");
      append(path, length, sizeof path, name);
      long error = run_file(path, arguments, variables);
      if (error == -EACCES) result = error;
      else if (error != -ENOENT && error != -ENOTDIR) return error;
    }
    if (*end == 0) return result;
    at = end;
  }
}

__attribute__((noreturn)) static void give_up(int report, enum step step, long error) {
  struct failure failure = {step, (int32_t)error};
  write_all(report, &failure, sizeof failure);
  quit(127);
}

/* The new process, to its end as this program; it has the memory of the one that waits for it. */
__attribute__((noreturn)) static void become(struct command *command, const int streams[3], int report) {
  const struct user *user = &command->user;
  SYS_0(SYS_SETSID);
  if (command->has_terminal) {
    long error = SYS_3(SYS_IOCTL, streams[0], TIOCSCTTY, 0);
    if (error < 0) give_up(report, STEP_START, error);
  }
  for (int fd = 0; fd < 3; fd++) SYS_3(SYS_DUP3, streams[fd], fd, 0);
  /* What else had been ignored when the agent was started was undone then. */
  default_signal(SIGPIPE);
  block_signals(0);
  long error = SYS_2(SYS_SETGROUPS, user->group_count, user->groups);
  if (error >= 0) error = SYS_1(SYS_SETGID, user->gid);
  if (error >= 0) error = SYS_1(SYS_SETUID, user->uid);
  if (error < 0) give_up(report, STEP_USER, error);
  error = SYS_1(SYS_CHDIR, command->has_folder ? command->folder : user->home);
  if (error < 0 && !command->has_folder) error = SYS_1(SYS_CHDIR, "/");
  if (error < 0) give_up(report, STEP_FOLDER, error);

  char login[USER_TEXT + 1];
  const char *program = command->user.shell;
  if (command->arguments.count == 0) {
    size_t length = append(login, 0, sizeof login, "-");
    add_text(&command->arguments, login, append(login, length, sizeof login, base_name(program)));
  } else program = command->arguments.base;
  char **arguments = table_of(&command->arguments);
  char **variables = table_of(&command->variables);
  error = run_program(program, value_of(&command->variables, "PATH"), arguments, variables);
  give_up(report, STEP_PROGRAM, error);
}

static void need(long result, const char *what) {
  if (result < 0) fail(result, what, 0);
}

/* The end that programs use of a new pseudo-terminal, whose other end becomes the command's input and output here. */
static int open_terminal(struct command *command) {
  int master = open_at(AT_FDCWD, "/dev/ptmx", O_RDWR | O_NONBLOCK, 0);
  if (master < 0) master = open_at(AT_FDCWD, "/dev/pts/ptmx", O_RDWR | O_NONBLOCK, 0);
  need(master, "there is no pseudo-terminal:");
  int locked = 0;
  need(SYS_3(SYS_IOCTL, master, TIOCSPTLCK, &locked), "a pseudo-terminal can't be unlocked:");
  long terminal = SYS_3(SYS_IOCTL, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  need(terminal, "a pseudo-terminal can't be opened:");
  SYS_3(SYS_FCHOWN, terminal, command->user.uid, -1);
  SYS_3(SYS_IOCTL, master, TIOCSWINSZ, &command->size);
  command->input = master;
  command->output = master;
  command->errors = -1;
  return (int)terminal;
}

/* A pipe, of which the end here does not wait. */
static void open_pipe(int ends[2], int here) {
  need(SYS_2(SYS_PIPE2, ends, O_CLOEXEC), "there is no pipe:");
  /* F_SETFL */
  SYS_3(SYS_FCNTL, ends[here], 4, O_NONBLOCK);
}

void start_command(struct command *command) {
  int report[2], streams[3];
  add_defaults(command);
  need(SYS_2(SYS_PIPE2, report, O_CLOEXEC), "there is no pipe:");
  if (command->has_terminal) {
    streams[0] = streams[1] = streams[2] = open_terminal(command);
  } else {
    int input[2], output[2], errors[2];
    open_pipe(input, 1);
    open_pipe(output, 0);
    open_pipe(errors, 0);
    command->input = input[1];
    command->output = output[0];
    command->errors = errors[0];
    streams[0] = input[0];
    streams[1] = output[1];
    streams[2] = errors[1];
  }
  /* Copying page tables, and then the pages that both write to, would take most of the time of a short command. */
  long pid = vfork();
  if (pid == 0) become(command, streams, report[1]);
  command->pid = pid;
  need(pid, "there can be no more processes:");
  close_fd(report[1]);
  close_fd(streams[0]);
  if (!command->has_terminal) close_fd(streams[1]), close_fd(streams[2]);

  struct failure failure;
  long count;
  do {
    count = SYS_3(SYS_READ, report[0], &failure, sizeof failure);
  } while (count == -EINTR);
  close_fd(report[0]);
  if (count <= 0) return;
  SYS_4(SYS_WAIT4, command->pid, 0, 0, 0);
  switch (failure.step) {
    case STEP_USER:
      fail(failure.error, "can't become the user", command->user.name);
    case STEP_FOLDER:
      fail(failure.error, "can't work in", command->has_folder ? command->folder : "/");
    case STEP_PROGRAM:
      fail(failure.error, "can't run", command->arguments.count > 0 ? command->arguments.base : command->user.shell);
    default:
      fail(failure.error, "the terminal can't be the command's:", 0);
  }
}
