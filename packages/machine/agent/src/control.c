/* What concerns the whole guest: power, clock, host name, machine id. */
#include "frame.h"
#include "operations.h"

#define LINUX_REBOOT_MAGIC1 0xfee1dead
#define LINUX_REBOOT_MAGIC2 672274793
#define LINUX_REBOOT_CMD_RESTART 0x01234567
#define LINUX_REBOOT_CMD_POWER_OFF 0x4321fedc
/* systemd takes these for poweroff.target and reboot.target (systemd(1), signals): SIGRTMIN is 34. */
#define SYSTEMD_POWER_OFF (34 + 4)
#define SYSTEMD_REBOOT (34 + 5)
/* Milliseconds that processes have to end where there is no init that sees to it. */
#define END_MS 2000

static void sleep_milliseconds(int64_t milliseconds) {
  struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
  SYS_2(SYS_NANOSLEEP, &time, 0);
}

/* The first process's name; without its line end. */
static void name_of_init(char *name, size_t room) {
  long length = read_file("/proc/1/comm", name, room - 1);
  name[length < 0 ? 0 : length] = 0;
  *(char *)find(name, '\n') = 0;
}

/* Runs sysvinit's or busybox's shutdown or poweroff; comes back if there is none. */
static void run_shutdown(bool reboots) {
  static char *const variables[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", 0};
  char *shutdown[] = {"shutdown", reboots ? "-r" : "-h", "now", 0};
  char *plain[] = {reboots ? "reboot" : "poweroff", 0};
  SYS_3(SYS_EXECVE, "/sbin/shutdown", shutdown, variables);
  SYS_3(SYS_EXECVE, reboots ? "/sbin/reboot" : "/sbin/poweroff", plain, variables);
}

void run_power(const char *arguments, size_t length) {
  if (length != 4 || get_u32(arguments) > POWER_REBOOT) refuse("power is off or reboot");
  bool reboots = get_u32(arguments) == POWER_REBOOT;
  char init[32];
  name_of_init(init, sizeof init);
  send_frame(FRAME_DONE, 0, 0);
  if (is_same(init, "systemd")) {
    SYS_2(SYS_KILL, 1, reboots ? SYSTEMD_REBOOT : SYSTEMD_POWER_OFF);
    return;
  }
  SYS_0(SYS_SETSID);
  if (is_same(init, "init") && read_file("/proc/1/cmdline", init, sizeof init) > 0 && !is_same(init, "/bin/busybox"))
    run_shutdown(reboots);
  SYS_2(SYS_KILL, -1, SIGTERM);
  sleep_milliseconds(END_MS);
  SYS_0(SYS_SYNC);
  SYS_4(SYS_REBOOT, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
        reboots ? LINUX_REBOOT_CMD_RESTART : LINUX_REBOOT_CMD_POWER_OFF, 0);
}

void run_clock(const char *arguments, size_t length) {
  if (length != 12) refuse("a time is 12 bytes");
  struct timespec before = {0, 0};
  struct timespec now = {(int64_t)get_u64(arguments), get_u32(arguments + 8)};
  SYS_2(SYS_CLOCK_GETTIME, CLOCK_REALTIME, &before);
  long error = SYS_2(SYS_CLOCK_SETTIME, CLOCK_REALTIME, &now);
  if (error < 0) fail(error, "the clock can't be set:", 0);
  char answer[12];
  put_u64(answer, (uint64_t)before.seconds);
  put_u32(answer + 8, (uint32_t)before.nanoseconds);
  send_frame(FRAME_DONE, answer, sizeof answer);
}

/* Replaces a small file's content. */
static long write_file(const char *path, int flags, const char *text, size_t length) {
  int fd = open_at(AT_FDCWD, path, O_WRONLY | O_TRUNC | flags, 0644);
  if (fd < 0) return fd;
  bool is_written = write_all(fd, text, length);
  close_fd(fd);
  return is_written ? 0 : -EIO;
}

void run_host_name(const char *arguments, size_t length) {
  char line[66];
  if (length == 0 || length > 64 || strlen(arguments) != length) refuse("a host name has 1 to 64 bytes");
  long error = SYS_2(SYS_SETHOSTNAME, arguments, length);
  if (error < 0) fail(error, "the host name can't be set:", 0);
  size_t end = append(line, 0, sizeof line, arguments);
  append(line, end, sizeof line, "\n");
  error = write_file("/etc/hostname", O_CREAT, line, length + 1);
  if (error < 0) fail(error, "can't write", "/etc/hostname");
  send_frame(FRAME_DONE, 0, 0);
}

/* A new machine id, as machine-id(5) has it: 32 hexadecimal digits of a random UUID (version 4). */
static void renew_machine_id(void) {
  static const char digits[] = "0123456789abcdef";
  uint8_t random[16];
  char line[33];
  if (SYS_3(SYS_GETRANDOM, random, sizeof random, 0) != sizeof random) fail(-EIO, "there are no random numbers:", 0);
  random[6] = (random[6] & 0x0f) | 0x40;
  random[8] = (random[8] & 0x3f) | 0x80;
  for (int at = 0; at < 16; at++) {
    line[2 * at] = digits[random[at] >> 4];
    line[2 * at + 1] = digits[random[at] & 15];
  }
  line[32] = '\n';
  long error = write_file("/etc/machine-id", O_CREAT, line, sizeof line);
  if (error < 0) fail(error, "can't write", "/etc/machine-id");
  /* D-Bus has a copy where it has no link. */
  write_file("/var/lib/dbus/machine-id", O_NOFOLLOW, line, sizeof line);
}

/* Appends the first line of a file, and a line end. */
static size_t append_line(char *to, size_t length, size_t size, const char *path) {
  char line[128];
  long count = read_file(path, line, sizeof line - 1);
  line[count < 0 ? 0 : count] = 0;
  *(char *)find(line, '\n') = 0;
  length = append(to, length, size, line);
  return append(to, length, size, "\n");
}

void run_identity(const char *arguments, size_t length) {
  char answer[512];
  if (length != 4 || get_u32(arguments) > 1) refuse("an identity is read or renewed");
  if (get_u32(arguments) == 1) renew_machine_id();
  size_t end = append_line(answer, 0, sizeof answer, "/etc/machine-id");
  end = append_line(answer, end, sizeof answer, "/proc/sys/kernel/hostname");
  end = append_line(answer, end, sizeof answer, "/proc/sys/kernel/random/boot_id");
  send_frame(FRAME_DONE, answer, end);
}
