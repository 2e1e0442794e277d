/*
 * Takes files and folders from the host. Entries have names without folders: each lies in the folder that was entered
 * last. An entry that can't be made ends the copy; what was copied stays.
 */
#include "frame.h"
#include "operations.h"

/* Bytes of an entry before its name. */
#define ENTRY_BYTES 24

struct entry {
  uint32_t mode;
  struct timespec time;
  const char *name;
  /* Of a link. */
  const char *target;
};

/* The folders that were entered, the first of them that of the target. */
static struct {
  int fd;
  uint32_t mode;
  struct timespec time;
} folders[MAX_DEPTH + 1];
static int depth;

static struct entry entry_of(const struct frame *frame) {
  if (frame->length <= ENTRY_BYTES) refuse("an entry has no name");
  const char *name = frame->payload + ENTRY_BYTES;
  const char *end = frame->payload + frame->length;
  const char *target = name + strlen(name) + 1;
  if (frame->type == FRAME_LINK) {
    if (target >= end || target + strlen(target) != end) refuse("a link has no target");
  } else if (target - 1 != end) refuse("a name has a zero byte");
  if (*name == 0 || *find(name, '/') != 0 || is_same(name, ".") || is_same(name, "..")) refuse("an entry has no name");
  struct timespec time = {(int64_t)get_u64(frame->payload + 8), get_u32(frame->payload + 4)};
  return (struct entry){get_u32(frame->payload) & 07777, time, name, target};
}

static void need(long result, const char *what, const char *name) {
  if (result < 0) fail(result, what, name);
}

static void set_time(int folder, const char *name, struct timespec time, int flags) {
  struct timespec times[2] = {{0, UTIME_OMIT}, time};
  SYS_4(SYS_UTIMENSAT, folder, name, times, flags);
}

static void take_file(int folder, const struct entry *entry) {
  /* A pipe that nobody reads would be waited for without an end. */
  int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK;
  int fd = open_at(folder, entry->name, flags, (entry->mode & 0777) | 0200);
  need(fd, "can't write", entry->name);
  /* The name is in the memory of its frame, which the next frame takes. */
  char name[256];
  append(name, 0, sizeof name, entry->name);
  for (;;) {
    struct frame frame = receive_frame();
    if (frame.type != FRAME_DATA) refuse("this is no part of a file");
    if (frame.length == 0) break;
    for (size_t at = 0; at < frame.length;) {
      long count = SYS_3(SYS_WRITE, fd, frame.payload + at, frame.length - at);
      if (count == -EINTR) continue;
      need(count, "can't write", name);
      at += (size_t)count;
    }
  }
  SYS_2(SYS_FCHMOD, fd, entry->mode);
  set_time(fd, 0, entry->time, 0);
  close_fd(fd);
}

static void take_link(int folder, const struct entry *entry) {
  long error = SYS_3(SYS_SYMLINKAT, entry->target, folder, entry->name);
  if (error == -EEXIST) {
    need(SYS_3(SYS_UNLINKAT, folder, entry->name, 0), "can't replace", entry->name);
    error = SYS_3(SYS_SYMLINKAT, entry->target, folder, entry->name);
  }
  need(error, "can't make the link", entry->name);
  set_time(folder, entry->name, entry->time, AT_SYMLINK_NOFOLLOW);
}

static void enter(int folder, const struct entry *entry) {
  if (depth == MAX_DEPTH) fail(0, "folders are too deep within each other:", entry->name);
  long error = SYS_3(SYS_MKDIRAT, folder, entry->name, 0700);
  if (error != -EEXIST) need(error, "can't make the folder", entry->name);
  int fd = open_at(folder, entry->name, O_DIRECTORY, 0);
  need(fd, "can't enter", entry->name);
  depth++;
  folders[depth].fd = fd;
  folders[depth].mode = entry->mode;
  folders[depth].time = entry->time;
}

static void leave(void) {
  if (depth == 0) refuse("no folder was entered");
  SYS_2(SYS_FCHMOD, folders[depth].fd, folders[depth].mode);
  set_time(folders[depth].fd, 0, folders[depth].time, 0);
  close_fd(folders[depth].fd);
  depth--;
}

/* The target as cp has it: a folder that is there takes the source under its own name. Gives the name to use. */
static const char *open_target(char *path, const char *source) {
  int fd = open_at(AT_FDCWD, path, O_DIRECTORY, 0);
  if (fd >= 0) {
    folders[0].fd = fd;
    return source;
  }
  char *name = (char *)base_name(path);
  if (*name == 0 || is_same(name, ".") || is_same(name, "..")) fail(fd, "there is no folder", path);
  if (name == path) {
    folders[0].fd = AT_FDCWD;
    return name;
  }
  /* The slash between folder and name ends the folder, but for the root's. */
  char first = *name;
  *name = 0;
  fd = open_at(AT_FDCWD, path, O_DIRECTORY, 0);
  need(fd, "there is no folder", path);
  *name = first;
  folders[0].fd = fd;
  return name;
}

void run_copy_in(char *arguments, size_t length) {
  static char target[4096];
  char source[256];
  const char *path = arguments + strlen(arguments) + 1;
  if (path > arguments + length || strlen(path) >= sizeof target || *path == 0) refuse("a copy has no target");
  if (strlen(arguments) >= sizeof source || *arguments == 0) refuse("a copy has no source");
  append(source, 0, sizeof source, arguments);
  append(target, 0, sizeof target, path);
  const char *name = open_target(target, source);
  send_frame(FRAME_STARTED, 0, 0);
  for (bool is_first = true;; is_first = false) {
    struct frame frame = receive_frame();
    if (frame.type == FRAME_FINISH) break;
    if (frame.type == FRAME_LEAVE) {
      leave();
      continue;
    }
    if (frame.type != FRAME_FILE && frame.type != FRAME_ENTER && frame.type != FRAME_LINK)
      refuse("this is no part of a copy");
    struct entry entry = entry_of(&frame);
    if (is_first) entry.name = name;
    if (frame.type == FRAME_FILE) take_file(folders[depth].fd, &entry);
    else if (frame.type == FRAME_ENTER) enter(folders[depth].fd, &entry);
    else take_link(folders[depth].fd, &entry);
  }
  if (depth > 0) refuse("a folder was not left");
  send_frame(FRAME_DONE, 0, 0);
}
