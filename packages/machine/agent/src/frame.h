/*
 * The connection of this process, frame by frame, for operations that wait for it: what the host sends is read whole,
 * what is sent waits until the host takes it. A frame that can't be ends the process, and with it the connection.
 */
#ifndef FRAME_H
#define FRAME_H

#include "protocol.h"
#include "system.h"
#include "text.h"

struct frame {
  uint32_t type;
  uint32_t length;
  /* Followed by a 0, so that it can be read as a text. */
  char *payload;
};

/* The socket of the connection. */
extern int connection;

/* The next frame, in memory that the one after it takes; the process ends when there is none. */
struct frame receive_frame(void);
/* Waits only so long for the host's next bytes; without an end if 0. */
void set_patience(int64_t seconds);
void send_frame(uint32_t type, const void *payload, size_t length);
/* A frame whose payload comes in two parts. */
void send_frame_2(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length);
/* Tells the host that something can't be done. `error` is a negative error number, or 0; `detail` may be 0. */
void send_problem(uint32_t type, long error, const char *what, const char *detail);
/* Tells it, and ends the process. */
__attribute__((noreturn)) void fail(long error, const char *what, const char *detail);
/* Ends the process after what the host must not do. */
__attribute__((noreturn)) void refuse(const char *what);

#endif
