/*
 * Runs a command for the host. Nothing here waits for one side only: the command's streams, the host and the command's
 * end are watched together, so that a signal passes by input that the command does not read, and output that the host
 * does not take holds the command.
 *
 * What is kept is bounded: input by the window that the host must keep to, output by a buffer without whose room no
 * output is read. When the command has ended, what its pipes hold at that moment is its output; what processes that it
 * leaves behind write later is not.
 */
#include "command.h"
#include "frame.h"
#include "operations.h"

#define CHUNK 65536
#define OUT_BYTES (4 * CHUNK)
/* Room that frames without output always have. */
#define SPARE 256
/* Input is reported as taken in steps of this size: the host's window never closes for less. */
#define TAKEN_STEP (INPUT_WINDOW / 4)
/* Milliseconds for what the host has left to end by itself, and for a terminal's last words. */
#define GRACE_MS 3000
#define LAST_WORDS_MS 1000
/* Milliseconds until a terminal that nobody has open is looked at again. */
#define TERMINAL_REST_MS 50

static struct command command;
/* Frames on their way from the host. */
static char in[HEADER_BYTES + MAX_PAYLOAD];
static size_t in_filled;
/* Input that the command has not read; the terminal's end of input is one byte more. */
static char input[INPUT_WINDOW + 1];
static size_t input_start, input_end;
static uint32_t taken;
static bool input_is_over;
/* Frames on their way to the host. */
static char out[OUT_BYTES];
static size_t out_start, out_end;
static int child_signals;
static bool has_ended;
static int32_t wait_status;
/* Bytes that are still to come of each stream of a command that has ended. */
static int32_t output_left, errors_left;
static int64_t last_words_until, terminal_rests_until;

/* The host is gone, or does what it may not: what it started goes, too. */
static void hang_up(void) {
  if (has_ended) quit(0);
  SYS_2(SYS_KILL, -command.pid, SIGHUP);
  SYS_2(SYS_KILL, -command.pid, SIGCONT);
  close_fd(command.input), close_fd(command.output), close_fd(command.errors);
  int64_t until = monotonic_milliseconds() + GRACE_MS;
  for (int64_t left = GRACE_MS; left > 0; left = until - monotonic_milliseconds()) {
    /* The id stays taken until it is waited for, so nobody else gets the signal. */
    uint32_t info[32] = {0};
    SYS_6(SYS_WAITID, P_PID, command.pid, info, WEXITED | WNOHANG | WNOWAIT, 0, 0);
    if (info[0] != 0) break;
    struct pollfd poll = {child_signals, POLLIN, 0};
    char event[128];
    if (poll_fds(&poll, 1, left) > 0) SYS_3(SYS_READ, child_signals, event, sizeof event);
  }
  SYS_2(SYS_KILL, -command.pid, SIGKILL);
  SYS_4(SYS_WAIT4, command.pid, 0, 0, 0);
  quit(0);
}

static size_t out_room(void) {
  if (out_start == out_end) out_start = out_end = 0;
  else if (out_start > OUT_BYTES / 2) {
    memmove(out, out + out_start, out_end - out_start);
    out_end -= out_start;
    out_start = 0;
  }
  return OUT_BYTES - out_end;
}

static bool has_output_room(void) {
  return out_room() >= HEADER_BYTES + CHUNK + SPARE;
}

static void put_header(uint32_t type, uint32_t length) {
  put_u32(out + out_end, length);
  put_u32(out + out_end + 4, type);
  out_end += HEADER_BYTES + length;
}

static void put_numbers(uint32_t type, uint32_t first, uint32_t second, uint32_t length) {
  put_u32(out + out_end + HEADER_BYTES, first);
  put_u32(out + out_end + HEADER_BYTES + 4, second);
  put_header(type, length);
}

static void send_out(void) {
  while (out_start < out_end) {
    long count = SYS_6(SYS_SENDTO, connection, out + out_start, out_end - out_start, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (count == -EAGAIN) return;
    if (count == -EINTR) continue;
    if (count <= 0) hang_up();
    out_start += (size_t)count;
  }
}

/* Reads what a stream has, at most `most` bytes; gives how much, 0 at its end, or an error. */
static long read_stream(int fd, uint32_t type, size_t most) {
  long count = SYS_3(SYS_READ, fd, out + out_end + HEADER_BYTES, most < CHUNK ? most : CHUNK);
  if (count > 0) put_header(type, (uint32_t)count);
  return count;
}

/* Passes on what a stream has while the command runs; at its end it is closed. */
static void take_output(int *fd, uint32_t type) {
  long count = read_stream(*fd, type, CHUNK);
  if (count > 0 || count == -EAGAIN || count == -EINTR) return;
  /* A terminal that nobody has open may be opened again, and has no event for that. */
  if (command.has_terminal) {
    terminal_rests_until = monotonic_milliseconds() + TERMINAL_REST_MS;
    return;
  }
  close_fd(*fd);
  *fd = -1;
}

static void drop_input(void) {
  taken += (uint32_t)(input_end - input_start);
  input_start = input_end = 0;
  if (command.input >= 0 && !command.has_terminal) close_fd(command.input);
  command.input = -1;
}

static void give_input(void) {
  while (command.input >= 0 && input_start < input_end) {
    long count = SYS_3(SYS_WRITE, command.input, input + input_start, input_end - input_start);
    if (count == -EINTR) continue;
    if (count == -EAGAIN) return;
    if (count < 0) {
      drop_input();
      return;
    }
    input_start += (size_t)count;
    taken += (uint32_t)count;
  }
  if (input_start == input_end) input_start = input_end = 0;
  if (input_is_over && input_start == input_end && command.input >= 0 && !command.has_terminal) drop_input();
}

static void add_input(const char *bytes, size_t length) {
  if (command.input < 0) {
    taken += (uint32_t)length;
    return;
  }
  if (input_end + length > sizeof input && input_start > 0) {
    memmove(input, input + input_start, input_end - input_start);
    input_end -= input_start;
    input_start = 0;
  }
  if (input_end + length > sizeof input) hang_up();
  memcpy(input + input_end, bytes, length);
  input_end += length;
  give_input();
}

/* A frame for a command that runs. One that can't be ends the connection. */
static void obey(uint32_t type, const char *payload, uint32_t length) {
  /* End of input as a terminal has it (termios, VEOF). */
  static const char end_of_input = 4;
  switch (type) {
    case FRAME_INPUT:
      if (input_is_over) hang_up();
      add_input(payload, length);
      return;
    case FRAME_INPUT_END:
      if (input_is_over) return;
      input_is_over = true;
      if (command.has_terminal) add_input(&end_of_input, 1);
      else give_input();
      return;
    case FRAME_SIGNAL:
      if (length != 4 || get_u32(payload) < 1 || get_u32(payload) > SIGNALS) hang_up();
      if (!has_ended) SYS_2(SYS_KILL, -command.pid, get_u32(payload));
      return;
    case FRAME_SIZE:
      if (length != 4) hang_up();
      if (command.has_terminal && command.output >= 0) {
        struct winsize size = {get_u16(payload + 2), get_u16(payload), 0, 0};
        SYS_3(SYS_IOCTL, command.output, TIOCSWINSZ, &size);
      }
      return;
    default:
      hang_up();
  }
}

static void hear_host(void) {
  long count = SYS_6(SYS_RECVFROM, connection, in + in_filled, sizeof in - in_filled, MSG_DONTWAIT, 0, 0);
  if (count == -EAGAIN || count == -EINTR) return;
  if (count <= 0) hang_up();
  in_filled += (size_t)count;
  size_t at = 0;
  while (in_filled - at >= HEADER_BYTES) {
    uint32_t length = get_u32(in + at);
    if (length > MAX_PAYLOAD) hang_up();
    if (in_filled - at < HEADER_BYTES + length) break;
    obey(get_u32(in + at + 4), in + at + HEADER_BYTES, length);
    at += HEADER_BYTES + length;
  }
  memmove(in, in + at, in_filled - at);
  in_filled -= at;
}

/* Bytes that a pipe holds now. */
static int32_t held(int fd) {
  int32_t bytes = 0;
  if (fd < 0 || SYS_3(SYS_IOCTL, fd, FIONREAD, &bytes) < 0) return 0;
  return bytes;
}

static void hear_child(void) {
  char event[128];
  SYS_3(SYS_READ, child_signals, event, sizeof event);
  if (has_ended || SYS_4(SYS_WAIT4, command.pid, &wait_status, WNOHANG, 0) != command.pid) return;
  has_ended = true;
  drop_input();
  if (command.has_terminal) {
    output_left = INT32_MAX;
    last_words_until = monotonic_milliseconds() + LAST_WORDS_MS;
  } else {
    output_left = held(command.output);
    errors_left = held(command.errors);
  }
}

/* Passes on what is left of a stream of a command that has ended. */
static void take_rest(int fd, uint32_t type, int32_t *left) {
  while (*left > 0 && has_output_room()) {
    long count = fd < 0 ? 0 : read_stream(fd, type, (size_t)*left);
    if (count == -EINTR) continue;
    if (count > 0) *left -= (int32_t)count;
    /* Linux tells the end of a terminal, behind all of its output, as EIO. */
    else if (count == -EAGAIN && command.has_terminal && monotonic_milliseconds() < last_words_until) return;
    else *left = 0;
  }
}

/* Tells how the command has ended, when the host has taken all else. */
static void tell_end(void) {
  bool is_signal = (wait_status & 0x7f) != 0;
  uint32_t value = (uint32_t)(is_signal ? wait_status & 0x7f : wait_status >> 8 & 0xff);
  put_numbers(FRAME_EXIT, is_signal, value, 8);
  while (out_start < out_end) {
    send_out();
    struct pollfd poll = {connection, POLLOUT, 0};
    if (out_start < out_end) poll_fds(&poll, 1, -1);
  }
  quit(0);
}

static void watch(void) {
  for (;;) {
    if (taken >= TAKEN_STEP && !input_is_over && out_room() >= SPARE) {
      put_numbers(FRAME_TAKEN, taken, 0, 4);
      taken = 0;
    }
    if (has_ended) {
      take_rest(command.output, FRAME_OUTPUT, &output_left);
      take_rest(command.errors, FRAME_ERRORS, &errors_left);
      if (output_left == 0 && errors_left == 0 && out_room() >= SPARE) tell_end();
    }
    send_out();
    bool rests = command.has_terminal && !has_ended && monotonic_milliseconds() < terminal_rests_until;
    bool reads = !has_ended && !rests && has_output_room();
    struct pollfd polls[5] = {
      {connection, (short)(POLLIN | (out_start < out_end ? POLLOUT : 0)), 0},
      {child_signals, POLLIN, 0},
      {input_start < input_end ? command.input : -1, POLLOUT, 0},
      {reads ? command.output : -1, POLLIN, 0},
      {reads ? command.errors : -1, POLLIN, 0},
    };
    /* Of a command that has ended, a terminal's last words are waited for without an event. */
    int64_t limit = rests ? TERMINAL_REST_MS : has_ended && command.has_terminal ? LAST_WORDS_MS / 100 : -1;
    poll_fds(polls, 5, limit);
    if (polls[3].revents != 0) take_output(&command.output, FRAME_OUTPUT);
    if (polls[4].revents != 0 && has_output_room()) take_output(&command.errors, FRAME_ERRORS);
    if (polls[2].revents != 0) give_input();
    if (polls[1].revents != 0) hear_child();
    if (polls[0].revents != 0) hear_host();
  }
}

/* Keeps one more argument or variable. */
static void keep(struct texts *texts, const struct frame *frame) {
  if (strlen(frame->payload) != frame->length) refuse("a text has a zero byte");
  if (!add_text(texts, frame->payload, frame->length)) fail(-E2BIG, "the arguments and variables are too long:", 0);
}

void run_exec(void) {
  const char *user = "root";
  char user_text[2 * USER_TEXT];
  for (;;) {
    struct frame frame = receive_frame();
    if (frame.type == FRAME_START) break;
    switch (frame.type) {
      case FRAME_ARGUMENT:
        keep(&command.arguments, &frame);
        break;
      case FRAME_VARIABLE:
        if (*find(frame.payload, '=') == 0 || frame.payload[0] == '=') refuse("a variable is not NAME=VALUE");
        keep(&command.variables, &frame);
        break;
      case FRAME_FOLDER:
        if (frame.length >= sizeof command.folder) fail(-ENAMETOOLONG, "can't work in", frame.payload);
        append(command.folder, 0, sizeof command.folder, frame.payload);
        command.has_folder = true;
        break;
      case FRAME_USER:
        append(user_text, 0, sizeof user_text, frame.payload);
        user = user_text;
        break;
      case FRAME_TERMINAL:
        if (frame.length != 4) refuse("a terminal's size is not 4 bytes");
        command.has_terminal = true;
        command.size = (struct winsize){get_u16(frame.payload + 2), get_u16(frame.payload), 0, 0};
        break;
      default:
        refuse("this is no part of a command");
    }
  }
  set_patience(0);
  if (!find_user(user, &command.user)) fail(0, "there is no user or group", user);
  uint64_t mask = 1ull << (SIGCHLD - 1);
  block_signals(mask);
  child_signals = (int)SYS_4(SYS_SIGNALFD4, -1, &mask, 8, O_CLOEXEC | O_NONBLOCK);
  if (child_signals < 0) fail(child_signals, "there is no descriptor for signals:", 0);
  start_command(&command);
  put_numbers(FRAME_STARTED, (uint32_t)command.pid, 0, 4);
  watch();
}
