/* Users as /etc/passwd and /etc/group have them. */
#ifndef USER_H
#define USER_H

#include "system.h"

#define MAX_GROUPS 256
#define USER_TEXT 256

struct user {
  uint32_t uid, gid;
  uint32_t groups[MAX_GROUPS];
  uint32_t group_count;
  char name[USER_TEXT], home[USER_TEXT], shell[USER_TEXT];
};

/*
 * Looks a user up: USER or USER:GROUP, each a name or a number. A number that is in no file is taken as it is, and then
 * its group has the same number unless it is given. False if there is no such user or group.
 */
bool find_user(const char *text, struct user *user);

#endif
