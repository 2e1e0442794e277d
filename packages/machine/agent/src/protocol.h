/*
 * What agent and host say to each other. A connection is one operation. Everything is little-endian.
 *
 * A frame is its payload's length (u32), its type (u32) and the payload. The host begins with FRAME_OPEN; what follows
 * is the operation's. The same numbers are in src/agent/protocol.ts, and a test compares them.
 */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#define PROTOCOL_VERSION 1
/* The port of AF_VSOCK at which the agent listens. */
#define AGENT_PORT 18521
/* Bytes of a frame before its payload, and of the longest payload: Linux takes no longer argument (MAX_ARG_STRLEN). */
#define HEADER_BYTES 8
#define MAX_PAYLOAD 131072
/* Bytes of input that the host may have sent and the agent not yet reported as taken. */
#define INPUT_WINDOW 262144
/* Folders within folders that are copied. */
#define MAX_DEPTH 128

enum operation {
  /* DONE: u32 version. */
  OPERATION_PING = 1,
  /* Arguments, variables and so on, START; then input and output until EXIT. */
  OPERATION_EXEC = 2,
  /* OPEN: name of the source, 0, path of the target. STARTED; entries, FINISH; DONE. */
  OPERATION_COPY_IN = 3,
  /* OPEN: path of the source. Answered by entries and FINISH. */
  OPERATION_COPY_OUT = 4,
  /* OPEN: u32, a POWER_ value. DONE comes before it is done. */
  OPERATION_POWER = 5,
  /* OPEN: i64 seconds since 1970, u32 nanoseconds. DONE has the same of what the clock was. */
  OPERATION_CLOCK = 6,
  /* OPEN: the name; it is kept in /etc/hostname. DONE. */
  OPERATION_HOST_NAME = 7,
  /* OPEN: u32, 1 to have a new machine id. DONE: machine id, host name and boot id, a line each. */
  OPERATION_IDENTITY = 8,
};

enum power { POWER_OFF = 0, POWER_REBOOT = 1 };

enum frame_type {
  /* u32 version, u32 operation, and what the operation says. */
  FRAME_OPEN = 1,
  /* An argument; none at all is for the user's shell as a login shell. */
  FRAME_ARGUMENT = 16,
  /* NAME=VALUE. */
  FRAME_VARIABLE = 17,
  /* The working folder; the user's home unless given. */
  FRAME_FOLDER = 18,
  /* NAME, or UID or UID:GID; root unless given. */
  FRAME_USER = 19,
  /* u16 columns, u16 rows: the command has a pseudo-terminal. */
  FRAME_TERMINAL = 20,
  FRAME_START = 21,
  /* To a command that runs: bytes, their end, u32 signal, u16 columns and u16 rows. */
  FRAME_INPUT = 24,
  FRAME_INPUT_END = 25,
  FRAME_SIGNAL = 26,
  FRAME_SIZE = 27,
  /* Entries of a copy: u32 mode, u32 nanoseconds and i64 seconds of its time, u64 size, name; a link: 0, target. */
  FRAME_FILE = 32,
  FRAME_ENTER = 33,
  FRAME_LINK = 34,
  /* Bytes of the file; none at its end. */
  FRAME_DATA = 35,
  /* The folder that was entered last is complete. */
  FRAME_LEAVE = 36,
  FRAME_FINISH = 37,
  /* From the agent. It is done, with what the operation says. */
  FRAME_DONE = 64,
  /* u32 error number of Linux or 0, and what could not be done; the operation is over. */
  FRAME_FAILED = 65,
  /* The same, of an entry that is left out of a copy. */
  FRAME_WARNING = 66,
  /* The command runs: u32 process id. Or the target of a copy is there: nothing. */
  FRAME_STARTED = 72,
  FRAME_OUTPUT = 73,
  FRAME_ERRORS = 74,
  /* u32: so many more bytes of input have been taken. */
  FRAME_TAKEN = 75,
  /* u32 0 and the status, or u32 1 and the signal that ended it. */
  FRAME_EXIT = 76,
};

#endif
