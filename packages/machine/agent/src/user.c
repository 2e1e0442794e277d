/* Users; see user.h. Files are read up to a mebibyte, fields up to USER_TEXT bytes. */
#include "user.h"
#include "text.h"

#define MOST_BYTES (1 << 20)

/* The lines of a file, and of the current one its fields between colons. */
struct table {
  char *at, *end;
  char *fields[7];
  int count;
};

static struct table open_table(const char *path) {
  char *text = map_pages(MOST_BYTES + 1);
  long length = read_file(path, text, MOST_BYTES);
  if (length < 0) length = 0;
  text[length] = 0;
  return (struct table){text, text + length, {0}, 0};
}

/* Takes the next line apart; its colons become 0. Missing fields are empty. */
static bool next_line(struct table *table) {
  if (table->at >= table->end) return false;
  char *at = table->at;
  char *end = (char *)find(at, '\n');
  table->at = end + 1;
  *end = 0;
  table->count = 0;
  while (table->count < 7) {
    table->fields[table->count++] = at;
    char *colon = (char *)find(at, ':');
    at = *colon == 0 ? colon : colon + 1;
    *colon = 0;
  }
  return true;
}

static bool number_of(const char *text, uint32_t *number) {
  return parse_u32(text, text + strlen(text), number);
}

static void copy_text(char *to, const char *from) {
  append(to, 0, USER_TEXT, from);
}

/* Whether a list of names with commas has one. */
static bool lists(const char *list, const char *name) {
  size_t length = strlen(name);
  while (*list != 0) {
    const char *end = find(list, ',');
    if ((size_t)(end - list) == length && memcmp(list, name, length) == 0) return true;
    list = *end == 0 ? end : end + 1;
  }
  return false;
}

static bool find_group(const char *text, uint32_t *gid) {
  if (number_of(text, gid)) return true;
  struct table groups = open_table("/etc/group");
  while (next_line(&groups))
    if (is_same(groups.fields[0], text)) return number_of(groups.fields[2], gid);
  return false;
}

static void add_group(struct user *user, uint32_t gid) {
  for (uint32_t at = 0; at < user->group_count; at++)
    if (user->groups[at] == gid) return;
  if (user->group_count < MAX_GROUPS) user->groups[user->group_count++] = gid;
}

bool find_user(const char *text, struct user *user) {
  char name[USER_TEXT];
  const char *colon = find(text, ':');
  if ((size_t)(colon - text) >= sizeof name) return false;
  memcpy(name, text, (size_t)(colon - text));
  name[colon - text] = 0;
  uint32_t number = 0;
  bool is_number = number_of(name, &number);
  bool is_known = false;
  user->group_count = 0;
  struct table users = open_table("/etc/passwd");
  while (!is_known && next_line(&users)) {
    uint32_t uid = 0;
    if (!number_of(users.fields[2], &uid) || !number_of(users.fields[3], &user->gid)) continue;
    is_known = is_number ? uid == number : is_same(users.fields[0], name);
    if (!is_known) continue;
    user->uid = uid;
    copy_text(user->name, users.fields[0]);
    copy_text(user->home, users.fields[5]);
    copy_text(user->shell, users.fields[6]);
  }
  if (!is_known) {
    if (!is_number && !is_same(name, "root")) return false;
    user->uid = number;
    user->gid = number;
    copy_text(user->name, name);
    copy_text(user->home, "/");
    user->shell[0] = 0;
  }
  if (user->home[0] == 0) copy_text(user->home, "/");
  if (user->shell[0] == 0) copy_text(user->shell, "/bin/sh");
  if (*colon != 0 && !find_group(colon + 1, &user->gid)) return false;
  add_group(user, user->gid);
  struct table groups = open_table("/etc/group");
  uint32_t gid = 0;
  while (next_line(&groups))
    if (lists(groups.fields[3], user->name) && number_of(groups.fields[2], &gid)) add_group(user, gid);
  return true;
}
