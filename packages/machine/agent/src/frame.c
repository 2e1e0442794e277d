/* Frames of the connection; see frame.h. */
#include "frame.h"

int connection = -1;

static char payload[MAX_PAYLOAD + 1];

static void receive_all(void *to, size_t bytes) {
  char *at = to;
  while (bytes > 0) {
    long count = SYS_6(SYS_RECVFROM, connection, at, bytes, 0, 0, 0);
    if (count == -EINTR) continue;
    if (count <= 0) quit(1);
    at += count;
    bytes -= (size_t)count;
  }
}

static void send_all(const void *from, size_t bytes) {
  const char *at = from;
  while (bytes > 0) {
    long count = SYS_6(SYS_SENDTO, connection, at, bytes, MSG_NOSIGNAL, 0, 0);
    if (count == -EINTR) continue;
    if (count <= 0) quit(1);
    at += count;
    bytes -= (size_t)count;
  }
}

struct frame receive_frame(void) {
  char header[HEADER_BYTES];
  receive_all(header, sizeof header);
  struct frame frame = {get_u32(header + 4), get_u32(header), payload};
  if (frame.length > MAX_PAYLOAD) refuse("a frame is too long");
  receive_all(payload, frame.length);
  payload[frame.length] = 0;
  return frame;
}

void set_patience(int64_t seconds) {
  struct timespec limit = {seconds, 0};
  SYS_6(SYS_SETSOCKOPT, connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit, 0);
}

void send_frame_2(uint32_t type, const void *first, size_t first_length, const void *second, size_t second_length) {
  char header[HEADER_BYTES];
  put_u32(header, (uint32_t)(first_length + second_length));
  put_u32(header + 4, type);
  send_all(header, sizeof header);
  send_all(first, first_length);
  send_all(second, second_length);
}

void send_frame(uint32_t type, const void *bytes, size_t length) {
  send_frame_2(type, bytes, length, 0, 0);
}

void send_problem(uint32_t type, long error, const char *what, const char *detail) {
  char text[512];
  put_u32(text, (uint32_t)-error);
  size_t length = append(text, 4, sizeof text, what);
  if (detail != 0) {
    length = append(text, length, sizeof text, " ");
    length = append(text, length, sizeof text, detail);
  }
  send_frame(type, text, length);
}

void fail(long error, const char *what, const char *detail) {
  send_problem(FRAME_FAILED, error, what, detail);
  quit(1);
}

void refuse(const char *what) {
  fail(-EPROTO, what, 0);
}
