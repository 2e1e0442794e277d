/* clock: reads the three counters (Zicntr) around a loop of known length, and what they say since reset. */
#include "user.h"

#define LOOPS 100000ul

#if __riscv_xlen == 64
#define READ(counter)                                            \
  ({                                                             \
    uint64_t value_;                                             \
    __asm__ volatile("rd" #counter " %0" : "=r"(value_));        \
    value_;                                                      \
  })
#else
#define READ(counter)                                                                          \
  ({                                                                                           \
    uint32_t high_, low_, again_;                                                              \
    do {                                                                                       \
      __asm__ volatile("rd" #counter "h %0\n\trd" #counter " %1\n\trd" #counter "h %2"         \
                       : "=&r"(high_), "=&r"(low_), "=r"(again_));                             \
    } while (high_ != again_);                                                                 \
    (uint64_t)high_ << 32 | low_;                                                              \
  })
#endif

int clock_command(int argc, char **argv) {
  if (argc != 1) return usage(argv[0]);
  struct system_info info;
  get_system(&info);
  uint64_t time = READ(time), cycle = READ(cycle), instret = READ(instret);
  unsigned long left = LOOPS;
  __asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(left));
  uint64_t instret_after = READ(instret), cycle_after = READ(cycle), time_after = READ(time);
  unsigned long long elapsed = instret_after - instret;
  bool right = elapsed >= 2 * LOOPS && time_after >= time && cycle_after > cycle;
  printf("clock: since reset: time %llu, cycle %llu, instret %llu\n", (unsigned long long)time, (unsigned long long)cycle,
         (unsigned long long)instret);
  printf("clock: %lu instructions: time %llu at %llu Hz, cycle %llu, instret %llu, %s\n", 2 * LOOPS,
         (unsigned long long)(time_after - time), (unsigned long long)info.timebase,
         (unsigned long long)(cycle_after - cycle), elapsed, right ? "ok" : "WRONG");
  return right ? 0 : 1;
}
