/* Register width for assembly that serves both the 64-bit and the 32-bit kernel. */
#if __riscv_xlen == 64
#define LREG ld
#define SREG sd
#define REG_BYTES 8
#else
#define LREG lw
#define SREG sw
#define REG_BYTES 4
#endif
