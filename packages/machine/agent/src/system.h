/* Linux for RISC-V with 64 bits, as far as the agent needs it: numbers and structures of its interface for programs. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  SYS_CHDIR = 49, SYS_FCHMOD = 52, SYS_FCHOWN = 55, SYS_OPENAT = 56, SYS_CLOSE = 57, SYS_PIPE2 = 59,
  SYS_GETDENTS64 = 61, SYS_READ = 63, SYS_WRITE = 64, SYS_PPOLL = 73, SYS_SIGNALFD4 = 74, SYS_READLINKAT = 78,
  SYS_FSTATAT = 79, SYS_SYNC = 81, SYS_UTIMENSAT = 88, SYS_EXIT_GROUP = 94, SYS_WAITID = 95, SYS_NANOSLEEP = 101,
  SYS_CLOCK_SETTIME = 112, SYS_CLOCK_GETTIME = 113, SYS_KILL = 129, SYS_RT_SIGACTION = 134,
  SYS_RT_SIGPROCMASK = 135, SYS_REBOOT = 142, SYS_SETGID = 144, SYS_SETUID = 146, SYS_SETSID = 157,
  SYS_SETGROUPS = 159, SYS_UNAME = 160, SYS_SETHOSTNAME = 161, SYS_UMASK = 166, SYS_SOCKET = 198, SYS_BIND = 200,
  SYS_LISTEN = 201, SYS_SENDTO = 206, SYS_RECVFROM = 207, SYS_SETSOCKOPT = 208, SYS_MKDIRAT = 34,
  SYS_UNLINKAT = 35, SYS_SYMLINKAT = 36, SYS_IOCTL = 29, SYS_DUP3 = 24, SYS_FCNTL = 25, SYS_CLONE = 220,
  SYS_EXECVE = 221, SYS_MMAP = 222, SYS_ACCEPT4 = 242, SYS_WAIT4 = 260, SYS_GETRANDOM = 278, SYS_FTRUNCATE = 46,
  SYS_SHUTDOWN = 210,
};

enum {
  EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, E2BIG = 7, ENOEXEC = 8, EAGAIN = 11, ENOMEM = 12, EACCES = 13,
  EEXIST = 17, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EPIPE = 32, ENAMETOOLONG = 36, ELOOP = 40, EPROTO = 71,
  EPROTONOSUPPORT = 93,
};

enum {
  O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0100, O_NOCTTY = 0400, O_TRUNC = 01000, O_NONBLOCK = 04000,
  O_DIRECTORY = 0200000, O_NOFOLLOW = 0400000, O_CLOEXEC = 02000000,
};
#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 0x100

#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFREG 0100000
#define S_IFLNK 0120000

enum { SIGHUP = 1, SIGKILL = 9, SIGUSR2 = 12, SIGPIPE = 13, SIGTERM = 15, SIGCHLD = 17, SIGCONT = 18 };
#define SIGNALS 64

enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
struct pollfd { int fd; short events; short revents; };

#define AF_VSOCK 40
#define SOCK_STREAM 1
#define SOCK_CLOEXEC O_CLOEXEC
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define SOL_SOCKET 1
#define SO_RCVTIMEO 20
#define VMADDR_CID_ANY 0xffffffffu
#define VMADDR_CID_HOST 2
struct sockaddr_vm { uint16_t family, reserved; uint32_t port, cid; uint8_t flags, zero[3]; };

#define TIOCSCTTY 0x540e
#define TIOCSWINSZ 0x5414
#define FIONREAD 0x541b
#define TIOCSPTLCK 0x40045431
#define TIOCGPTPEER 0x5441
struct winsize { uint16_t rows, columns, width, height; };

struct timespec { int64_t seconds; int64_t nanoseconds; };
#define CLOCK_REALTIME 0
#define CLOCK_MONOTONIC 1
#define UTIME_OMIT 0x3ffffffe

struct stat {
  uint64_t dev, ino;
  uint32_t mode, nlink, uid, gid;
  uint64_t rdev, pad1;
  int64_t size;
  int32_t blksize, pad2;
  int64_t blocks, atime;
  uint64_t atime_ns;
  int64_t mtime;
  uint64_t mtime_ns;
  int64_t ctime;
  uint64_t ctime_ns;
  uint32_t unused[2];
};

struct dirent { uint64_t ino; int64_t off; uint16_t length; uint8_t type; char name[]; };

#define WNOHANG 1
#define WEXITED 4
#define WNOWAIT 0x01000000
#define P_PID 1
#define CLONE_VM 0x100
#define CLONE_VFORK 0x4000

/* A system call: what it gives, or the negative error number. */
static inline long call6(long number, long x, long y, long z, long u, long v, long w) {
  register long a0 __asm__("a0") = x;
  register long a1 __asm__("a1") = y;
  register long a2 __asm__("a2") = z;
  register long a3 __asm__("a3") = u;
  register long a4 __asm__("a4") = v;
  register long a5 __asm__("a5") = w;
  register long a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
  return a0;
}
#define SYS_0(number) call6(number, 0, 0, 0, 0, 0, 0)
#define SYS_1(number, x) call6(number, (long)(x), 0, 0, 0, 0, 0)
#define SYS_2(number, x, y) call6(number, (long)(x), (long)(y), 0, 0, 0, 0)
#define SYS_3(number, x, y, z) call6(number, (long)(x), (long)(y), (long)(z), 0, 0, 0)
#define SYS_4(number, x, y, z, u) call6(number, (long)(x), (long)(y), (long)(z), (long)(u), 0, 0)
#define SYS_6(number, x, y, z, u, v, w) call6(number, (long)(x), (long)(y), (long)(z), (long)(u), (long)(v), (long)(w))

__attribute__((noreturn)) void quit(int status);
/* A copy of this process: its id, 0 in the copy itself, or an error. */
long fork(void);
/*
 * A process in this one's memory and on its stack, while this one waits for its execve() or its end; as fork() otherwise.
 * What calls it must not return in the new process, and is the same function: so it is inlined.
 */
static inline __attribute__((always_inline)) long vfork(void) {
  return SYS_2(SYS_CLONE, CLONE_VM | CLONE_VFORK | SIGCHLD, 0);
}
int open_at(int folder, const char *path, int flags, uint32_t mode);
static inline void close_fd(int fd) {
  SYS_1(SYS_CLOSE, fd);
}
/* Writes all; false if that fails. */
bool write_all(int fd, const void *from, size_t bytes);
/* At most `room` bytes of a file, from its front; an error if it can't be read. */
long read_file(const char *path, char *to, size_t room);
/* Fresh zeroed memory that is taken when it is written to; ends the process where there is none. */
void *map_pages(size_t bytes);
/* What a signal does is what it does in a new process. */
void default_signal(int signal);
void ignore_signal(int signal);
/* Blocks signals, one bit each from bit 0 for signal 1; 0 blocks none. */
void block_signals(uint64_t mask);
/* poll() without an end if `milliseconds` is negative; interruptions are retried. */
long poll_fds(struct pollfd *fds, size_t count, int64_t milliseconds);
int64_t monotonic_milliseconds(void);

#endif
