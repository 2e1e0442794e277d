/* The table of commands, and the ones that look at the system. The test commands have files of their own. */
#include "user.h"

static const char *const state_names[] = {"free", "ready", "reading", "waiting", "sleeping", "ended"};
static const char *const sbi_names[] = {"BBL", "OpenSBI", "Xvisor", "KVM", "RustSBI", "Diosix"};

static int echo(int argc, char **argv) {
  for (int i = 1; i < argc; i++) printf(i > 1 ? " %s" : "%s", argv[i]);
  printf("\n");
  return 0;
}

static uint64_t milliseconds(uint64_t ticks) {
  struct system_info info;
  get_system(&info);
  return ticks * 1000 / info.timebase;
}

static int ps(int argc, char **argv) {
  (void)argc, (void)argv;
  printf("%5s %6s %-8s %8s %8s  %s\n", "PID", "PARENT", "STATE", "CPU-MS", "KIB", "NAME");
  struct process_info info;
  for (unsigned slot = 0; slot < MAX_PROCESSES; slot++) {
    if (get_process(slot, &info) != 0) continue;
    printf("%5d %6d %-8s %8llu %8u  %s\n", info.pid, info.parent, state_names[info.state],
           (unsigned long long)milliseconds(info.cpu_ticks), info.pages * 4, info.name);
  }
  return 0;
}

static uint64_t own_cpu_ticks(void) {
  struct process_info info;
  for (unsigned slot = 0; slot < MAX_PROCESSES; slot++) {
    if (get_process(slot, &info) == 0 && info.pid == getpid()) return info.cpu_ticks;
  }
  return 0;
}

static int time(int argc, char **argv) {
  if (argc < 2) return usage(argv[0]);
  uint64_t start = ticks(), start_cpu = own_cpu_ticks();
  int status = run_command(argc - 1, argv + 1);
  uint64_t real = milliseconds(ticks() - start), cpu = milliseconds(own_cpu_ticks() - start_cpu);
  printf("real %llu.%03llu s, cpu %llu.%03llu s\n", (unsigned long long)real / 1000, (unsigned long long)real % 1000,
         (unsigned long long)cpu / 1000, (unsigned long long)cpu % 1000);
  return status;
}

static int uptime(int argc, char **argv) {
  (void)argc, (void)argv;
  struct system_info info;
  get_system(&info);
  uint64_t up = milliseconds(info.uptime_ticks), idle = milliseconds(info.idle_ticks);
  printf("up %llu.%03llu s, idle %llu.%03llu s, ", (unsigned long long)up / 1000, (unsigned long long)up % 1000,
         (unsigned long long)idle / 1000, (unsigned long long)idle % 1000);
  printf("%llu switches, %llu timer and %llu device interrupts, %llu system calls\n",
         (unsigned long long)info.switches, (unsigned long long)info.timer_interrupts,
         (unsigned long long)info.device_interrupts, (unsigned long long)info.system_calls);
  return 0;
}

static int mem(int argc, char **argv) {
  (void)argc, (void)argv;
  struct system_info info;
  get_system(&info);
  printf("total %llu KiB, free %llu KiB, %llu pages zeroed on demand, %llu copied on write\n",
         (unsigned long long)info.memory_bytes / 1024, (unsigned long long)info.free_bytes / 1024,
         (unsigned long long)info.zero_pages, (unsigned long long)info.copied_pages);
  return 0;
}

static int uname(int argc, char **argv) {
  (void)argc, (void)argv;
  printf("Guest riscv%u\n", (unsigned)(8 * sizeof(long)));
  return 0;
}

static int cpuinfo(int argc, char **argv) {
  (void)argc, (void)argv;
  struct system_info info;
  get_system(&info);
  const char *sbi = info.sbi_implementation < sizeof sbi_names / sizeof sbi_names[0] ? sbi_names[info.sbi_implementation]
                                                                                     : "implementation";
  printf("hart:     %u of %u\n", info.boot_hart, info.harts);
  printf("isa:      %s\n", info.isa);
  printf("mmu:      %s\n", info.mmu);
  printf("model:    %s\n", info.model);
  printf("timebase: %llu Hz, by %s\n", (unsigned long long)info.timebase, info.timer);
  printf("console:  %s\n", info.console);
  printf("sbi:      %u.%u, %s (%x)\n", info.sbi_version >> 24, info.sbi_version & 0xffffff, sbi, info.sbi_implementation);
  return 0;
}

static int kill_process(int argc, char **argv) {
  unsigned long pid;
  if (argc != 2 || !parse_number(argv[1], &pid)) return usage(argv[0]);
  int error = kill((int)pid);
  if (error == 0) return 0;
  printf("kill: %s: %s\n", argv[1], error_text(error));
  return 1;
}

/* Seconds with up to three decimals. */
static bool parse_seconds(char *text, unsigned long *value) {
  unsigned long fraction = 0, scale = 1000;
  for (char *at = text; *at != 0; at++) {
    if (*at != '.') continue;
    *at++ = 0;
    for (; *at >= '0' && *at <= '9' && scale > 1; at++) {
      scale /= 10;
      fraction += (unsigned long)(*at - '0') * scale;
    }
    if (*at != 0) return false;
    break;
  }
  if (!parse_number(text, value) || *value > 1000000) return false;
  *value = *value * 1000 + fraction;
  return true;
}

static int sleep_seconds(int argc, char **argv) {
  unsigned long value;
  if (argc != 2 || !parse_seconds(argv[1], &value)) return usage(argv[0]);
  sleep((unsigned)value);
  return 0;
}

static int poweroff(int argc, char **argv) {
  unsigned long status = 0;
  if (argc > 2 || (argc == 2 && (!parse_number(argv[1], &status) || status > 255))) return usage(argv[0]);
  printf("poweroff: %s\n", error_text(power(POWER_OFF, (unsigned)status)));
  return 1;
}

static int reboot(int argc, char **argv) {
  (void)argc, (void)argv;
  printf("reboot: %s\n", error_text(power(POWER_REBOOT, 0)));
  return 1;
}

static int help(int argc, char **argv);

static const struct command commands[] = {
  {"help", "", "this list", help},
  {"echo", "[WORD...]", "print the words", echo},
  {"ps", "", "list the processes", ps},
  {"kill", "PID", "end a process", kill_process},
  {"wait", "", "wait for background processes", 0},
  {"time", "COMMAND...", "run a command and say how long it took", time},
  {"sleep", "SECONDS", "wait, with decimals if wanted", sleep_seconds},
  {"uptime", "", "time and events since boot", uptime},
  {"mem", "", "memory in use", mem},
  {"uname", "", "name of this system and its architecture", uname},
  {"cpuinfo", "", "what the device tree and firmware say", cpuinfo},
  {"burn", "[MILLIONS]", "compute, and check the result", burn_command},
  {"touch", "KIB", "write memory and read it back", touch_command},
  {"smc", "", "rewrite running code", smc_command},
  {"fault", "[KIND]", "each kind of fault, or one", fault_command},
  {"fp", "", "floating point across context switches", fp_command},
  {"clock", "", "time, cycle and instruction counters", clock_command},
  {"digest", "BYTES", "SHA-256 of generated data", digest_command},
  {"reboot", "", "start again", reboot},
  {"poweroff", "[STATUS]", "end the machine, with a status for the host", poweroff},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int help(int argc, char **argv) {
  (void)argc, (void)argv;
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    printf("  %-9s %-11s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
  }
  printf("End a command with & to run it in the background; ; separates commands; Ctrl-C kills.\n");
  return 0;
}

const struct command *find_command(const char *name) {
  for (size_t i = 0; i < COMMAND_COUNT; i++) {
    if (strcmp(commands[i].name, name) == 0) return &commands[i];
  }
  return 0;
}

int run_command(int argc, char **argv) {
  const struct command *command = find_command(argv[0]);
  if (command == 0 || command->run == 0) {
    printf("%s: no such command here: try help\n", argv[0]);
    return 127;
  }
  return command->run(argc, argv);
}

int usage(const char *name) {
  printf("usage: %s %s\n", name, find_command(name)->arguments);
  return 2;
}
