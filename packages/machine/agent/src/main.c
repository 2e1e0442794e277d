/*
 * Hyperfile's guest agent: does in a guest what its host asks for. It is one static program without a C library, for
 * Linux 4.13 and newer on RISC-V with 64 bits.
 *
 *   hyperfile-agent                   listens for the host on AF_VSOCK
 *   hyperfile-agent --connection FD   serves one connection, on a socket that it has inherited
 *
 * The program that listens does nothing else: each connection has a process of its own, so that nothing that is said on
 * one, and no way in which its process may end, concerns another. Only the host is served: programs of the guest can
 * reach the port as well (VMADDR_CID_LOCAL), and would have root's rights.
 */
#include "frame.h"
#include "operations.h"

/* Connections that are served at a time; others wait for one of these to end. */
#define MOST_CONNECTIONS 512
#define BACKLOG 256
/* Seconds for the host to say what it wants. */
#define PATIENCE 30

static void say(const char *text) {
  write_all(2, text, strlen(text));
}

static void serve(void) {
  ignore_signal(SIGPIPE);
  set_patience(PATIENCE);
  struct frame frame = receive_frame();
  if (frame.type != FRAME_OPEN || frame.length < 8) refuse("a connection begins with what it is for");
  if (get_u32(frame.payload) != PROTOCOL_VERSION) fail(-EPROTONOSUPPORT, "this agent speaks version 1 of its protocol:", 0);
  char *arguments = frame.payload + 8;
  size_t length = frame.length - 8;
  char version[4];
  switch (get_u32(frame.payload + 4)) {
    case OPERATION_PING:
      put_u32(version, PROTOCOL_VERSION);
      send_frame(FRAME_DONE, version, sizeof version);
      break;
    case OPERATION_EXEC:
      run_exec();
      break;
    case OPERATION_COPY_IN:
      set_patience(0);
      run_copy_in(arguments, length);
      break;
    case OPERATION_COPY_OUT:
      run_copy_out(arguments, length);
      break;
    case OPERATION_POWER:
      run_power(arguments, length);
      break;
    case OPERATION_CLOCK:
      run_clock(arguments, length);
      break;
    case OPERATION_HOST_NAME:
      run_host_name(arguments, length);
      break;
    case OPERATION_IDENTITY:
      run_identity(arguments, length);
      break;
    default:
      refuse("there is no such operation");
  }
  quit(0);
}

static int listen_for_host(void) {
  long fd = SYS_3(SYS_SOCKET, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) {
    say("hyperfile-agent: there is no AF_VSOCK: load the kernel module vmw_vsock_virtio_transport\n");
    quit(1);
  }
  struct sockaddr_vm address = {AF_VSOCK, 0, AGENT_PORT, VMADDR_CID_ANY, 0, {0, 0, 0}};
  if (SYS_3(SYS_BIND, fd, &address, sizeof address) < 0 || SYS_2(SYS_LISTEN, fd, BACKLOG) < 0) {
    say("hyperfile-agent: its port is taken: is another agent running?\n");
    quit(1);
  }
  return (int)fd;
}

/* Takes a connection, and gives it a process. */
static bool take_connection(int listener) {
  struct sockaddr_vm peer = {0};
  uint32_t size = sizeof peer;
  long fd = SYS_4(SYS_ACCEPT4, listener, &peer, &size, SOCK_CLOEXEC);
  if (fd < 0) return false;
  long process = peer.cid == VMADDR_CID_HOST ? fork() : -EPERM;
  if (process == 0) {
    block_signals(0);
    close_fd(listener);
    connection = (int)fd;
    serve();
  }
  close_fd((int)fd);
  return process > 0;
}

static void listen_without_end(void) {
  int listener = listen_for_host();
  uint64_t mask = 1ull << (SIGCHLD - 1);
  block_signals(mask);
  int children = (int)SYS_4(SYS_SIGNALFD4, -1, &mask, 8, O_CLOEXEC | O_NONBLOCK);
  int count = 0;
  for (;;) {
    struct pollfd polls[2] = {
      {children, POLLIN, 0},
      {count < MOST_CONNECTIONS ? listener : -1, POLLIN, 0},
    };
    poll_fds(polls, 2, -1);
    if (polls[0].revents != 0) {
      char event[128];
      SYS_3(SYS_READ, children, event, sizeof event);
      while (count > 0 && SYS_4(SYS_WAIT4, -1, 0, WNOHANG, 0) > 0) count--;
    }
    if (polls[1].revents != 0 && take_connection(listener)) count++;
  }
}

int main(int argc, char **argv) {
  /* Programs rely on having the first three. */
  for (int fd = open_at(AT_FDCWD, "/dev/null", O_RDWR, 0); fd >= 0; fd = (int)SYS_3(SYS_FCNTL, fd, 0, 0))
    if (fd > 2) {
      close_fd(fd);
      break;
    }
  /* A shell that starts it in the background has it ignore some (POSIX, 2.11), and its commands would, too. */
  for (int signal = 1; signal <= SIGNALS; signal++) default_signal(signal);
  SYS_1(SYS_UMASK, 022);
  SYS_1(SYS_CHDIR, "/");
  uint32_t fd = 0;
  if (argc == 3 && is_same(argv[1], "--connection") && parse_u32(argv[2], argv[2] + strlen(argv[2]), &fd)) {
    connection = (int)fd;
    /* F_SETFD, FD_CLOEXEC */
    SYS_3(SYS_FCNTL, connection, 2, 1);
    serve();
  }
  if (argc > 1) {
    say("usage: hyperfile-agent [--connection FD]\n");
    return 2;
  }
  SYS_0(SYS_SETSID);
  listen_without_end();
  return 0;
}
