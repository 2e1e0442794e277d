/*
 * Gives files and folders to the host: an entry, then what it holds, a folder's contents before its end. What is neither
 * file, folder nor link, and what can't be read, is left out, and the host is told. Order is the file system's.
 */
#include "frame.h"
#include "operations.h"

#define CHUNK 65536

static char data[CHUNK];

static void send_entry(uint32_t type, const struct stat *stat, const char *name, const char *target) {
  char text[24 + 256 + 4096];
  put_u32(text, stat->mode & 07777);
  put_u32(text + 4, (uint32_t)stat->mtime_ns);
  put_u64(text + 8, (uint64_t)stat->mtime);
  put_u64(text + 16, (uint64_t)stat->size);
  size_t length = append(text, 24, 24 + 256, name);
  if (target != 0) length = append(text, length + 1, sizeof text, target);
  send_frame(type, text, length);
}

static void give_file(int fd, const struct stat *stat, const char *name) {
  send_entry(FRAME_FILE, stat, name, 0);
  for (;;) {
    long count = SYS_3(SYS_READ, fd, data, CHUNK);
    if (count == -EINTR) continue;
    /* Half a file is no file: unlike an entry that can't be opened, this ends the copy. */
    if (count < 0) fail(count, "can't read", name);
    send_frame(FRAME_DATA, data, (size_t)count);
    if (count == 0) return;
  }
}

static void give_link(int folder, const struct stat *stat, const char *name) {
  char target[4096];
  long length = SYS_4(SYS_READLINKAT, folder, name, target, sizeof target - 1);
  if (length < 0) {
    send_problem(FRAME_WARNING, length, "can't read the link", name);
    return;
  }
  target[length] = 0;
  send_entry(FRAME_LINK, stat, name, target);
}

static void give(int folder, const char *path, const char *name, bool follows, int depth);

static void give_folder(int fd, const struct stat *stat, const char *name, int depth) {
  char entries[4096];
  send_entry(FRAME_ENTER, stat, name, 0);
  for (;;) {
    long length = SYS_3(SYS_GETDENTS64, fd, entries, sizeof entries);
    if (length < 0) send_problem(FRAME_WARNING, length, "can't read the folder", name);
    if (length <= 0) break;
    for (long at = 0; at < length;) {
      struct dirent *entry = (struct dirent *)(entries + at);
      at += entry->length;
      if (is_same(entry->name, ".") || is_same(entry->name, "..")) continue;
      give(fd, entry->name, entry->name, false, depth + 1);
    }
  }
  send_frame(FRAME_LEAVE, 0, 0);
}

/* Gives what has a path from a folder, under a name. Only the source itself may be a link that is followed. */
static void give(int folder, const char *path, const char *name, bool follows, int depth) {
  struct stat stat;
  long error = SYS_4(SYS_FSTATAT, folder, path, &stat, follows ? 0 : AT_SYMLINK_NOFOLLOW);
  uint32_t kind = error < 0 ? 0 : stat.mode & S_IFMT;
  if (kind == S_IFLNK) {
    give_link(folder, &stat, name);
    return;
  }
  bool is_folder = kind == S_IFDIR;
  if (error >= 0 && !is_folder && kind != S_IFREG) {
    if (depth == 0) fail(0, "this is neither a file nor a folder:", path);
    send_problem(FRAME_WARNING, 0, "this is neither file, folder nor link:", name);
    return;
  }
  if (is_folder && depth == MAX_DEPTH) fail(0, "folders are too deep within each other:", name);
  int flags = (is_folder ? O_DIRECTORY : O_NONBLOCK) | (follows ? 0 : O_NOFOLLOW);
  long fd = error < 0 ? error : open_at(folder, path, flags, 0);
  if (fd < 0) {
    if (depth == 0) fail(fd, "can't read", path);
    send_problem(FRAME_WARNING, fd, "can't read", name);
    return;
  }
  if (is_folder) give_folder((int)fd, &stat, name, depth);
  else give_file((int)fd, &stat, name);
  close_fd((int)fd);
}

void run_copy_out(char *arguments, size_t length) {
  static char path[4096];
  if (length == 0 || length >= sizeof path || strlen(arguments) != length) refuse("a copy has no source");
  append(path, 0, sizeof path, arguments);
  char name[256];
  /* A path's last name, whatever slashes are behind it; the host has another one for those that have none. */
  size_t end = length;
  while (end > 1 && path[end - 1] == '/') end--;
  size_t start = end;
  while (start > 0 && path[start - 1] != '/') start--;
  size_t count = end - start < sizeof name - 1 ? end - start : sizeof name - 1;
  memcpy(name, path + start, count);
  name[count] = 0;
  if (count == 0 || is_same(name, ".") || is_same(name, "..")) append(name, 0, sizeof name, "files");
  give(AT_FDCWD, path, name, true, 0);
  send_frame(FRAME_FINISH, 0, 0);
}
