/* System calls that need more than their numbers. */
#include "system.h"
#include "text.h"

void quit(int status) {
  SYS_1(SYS_EXIT_GROUP, status);
  __builtin_unreachable();
}

long fork(void) {
  return SYS_1(SYS_CLONE, SIGCHLD);
}

int open_at(int folder, const char *path, int flags, uint32_t mode) {
  long fd;
  do {
    fd = SYS_4(SYS_OPENAT, folder, path, flags | O_CLOEXEC | O_NOCTTY, mode);
  } while (fd == -EINTR);
  return (int)fd;
}

bool write_all(int fd, const void *from, size_t bytes) {
  const char *at = from;
  while (bytes > 0) {
    long written = SYS_3(SYS_WRITE, fd, at, bytes);
    if (written == -EINTR) continue;
    if (written <= 0) return false;
    at += written;
    bytes -= (size_t)written;
  }
  return true;
}

long read_file(const char *path, char *to, size_t room) {
  int fd = open_at(AT_FDCWD, path, 0, 0);
  if (fd < 0) return fd;
  size_t filled = 0;
  long count = 0;
  while (filled < room) {
    count = SYS_3(SYS_READ, fd, to + filled, room - filled);
    if (count == -EINTR) continue;
    if (count <= 0) break;
    filled += (size_t)count;
  }
  close_fd(fd);
  return count < 0 ? count : (long)filled;
}

void *map_pages(size_t bytes) {
  /* Readable and writable; private, anonymous, and not counted before it is used. */
  long at = SYS_6(SYS_MMAP, 0, bytes, 3, 0x4022, -1, 0);
  if (at < 0 && at > -4096) quit(1);
  return (void *)at;
}

static void set_signal(int signal, uintptr_t handler) {
  uint64_t action[3] = {handler, 0, 0};
  SYS_4(SYS_RT_SIGACTION, signal, action, 0, 8);
}

void default_signal(int signal) {
  set_signal(signal, 0);
}

void ignore_signal(int signal) {
  set_signal(signal, 1);
}

void block_signals(uint64_t mask) {
  SYS_4(SYS_RT_SIGPROCMASK, 2, &mask, 0, 8);
}

int64_t monotonic_milliseconds(void) {
  struct timespec now = {0, 0};
  SYS_2(SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, &now);
  return now.seconds * 1000 + now.nanoseconds / 1000000;
}

long poll_fds(struct pollfd *fds, size_t count, int64_t milliseconds) {
  int64_t until = milliseconds < 0 ? 0 : monotonic_milliseconds() + milliseconds;
  for (;;) {
    int64_t left = milliseconds < 0 ? 0 : until - monotonic_milliseconds();
    if (left < 0) left = 0;
    struct timespec limit = {left / 1000, left % 1000 * 1000000};
    long ready = SYS_6(SYS_PPOLL, fds, count, milliseconds < 0 ? 0 : &limit, 0, 8, 0);
    if (ready != -EINTR) return ready;
  }
}
