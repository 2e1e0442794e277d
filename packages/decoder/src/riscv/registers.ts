/** Names of registers and CSRs in assembly text (RISC-V psABI, register convention; privileged manual, chapter 2). */

/** ABI names of the integer registers. */
export const integerNames: readonly string[] =
  "zero ra sp gp tp t0 t1 t2 s0 s1 a0 a1 a2 a3 a4 a5 a6 a7 s2 s3 s4 s5 s6 s7 s8 s9 s10 s11 t3 t4 t5 t6".split(
    " ",
  );

/** ABI names of the floating-point registers. */
export const floatNames: readonly string[] =
  "ft0 ft1 ft2 ft3 ft4 ft5 ft6 ft7 fs0 fs1 fa0 fa1 fa2 fa3 fa4 fa5 fa6 fa7 fs2 fs3 fs4 fs5 fs6 fs7 fs8 fs9 fs10 fs11 ft8 ft9 ft10 ft11".split(
    " ",
  );

/** Names of rounding modes by number; 5 and 6 are reserved. */
export const roundingNames: readonly string[] = [
  "rne",
  "rtz",
  "rdn",
  "rup",
  "rmm",
  "unknown",
  "unknown",
  "dyn",
];

const numbered = (name: string, suffix: string, from: number, to: number, base: number): [number, string][] =>
  Array.from({ length: to - from + 1 }, (_, index) => [base + index, `${name}${from + index}${suffix}`]);

/** Names of CSRs by number, those of absent extensions too: unknown CSRs still deserve their names in a listing. */
// biome-ignore format: groups as in the manual
export const csrNames: ReadonlyMap<number, string> = new Map<number, string>([
  [0x001, "fflags"], [0x002, "frm"], [0x003, "fcsr"],
  [0x008, "vstart"], [0x009, "vxsat"], [0x00a, "vxrm"], [0x00f, "vcsr"],
  [0xc20, "vl"], [0xc21, "vtype"], [0xc22, "vlenb"], [0x015, "seed"],
  [0xc00, "cycle"], [0xc01, "time"], [0xc02, "instret"], ...numbered("hpmcounter", "", 3, 31, 0xc03),
  [0xc80, "cycleh"], [0xc81, "timeh"], [0xc82, "instreth"], ...numbered("hpmcounter", "h", 3, 31, 0xc83),

  [0x100, "sstatus"], [0x104, "sie"], [0x105, "stvec"], [0x106, "scounteren"], [0x10a, "senvcfg"],
  ...numbered("sstateen", "", 0, 3, 0x10c), [0x114, "sieh"],
  [0x140, "sscratch"], [0x141, "sepc"], [0x142, "scause"], [0x143, "stval"], [0x144, "sip"],
  [0x14d, "stimecmp"], [0x15d, "stimecmph"], [0x150, "siselect"], [0x151, "sireg"], [0x154, "siph"], [0x15c, "stopei"],
  [0x180, "satp"], [0x5a8, "scontext"], [0xda0, "scountovf"], [0xdb0, "stopi"],

  [0x200, "vsstatus"], [0x204, "vsie"], [0x205, "vstvec"], [0x214, "vsieh"], [0x240, "vsscratch"], [0x241, "vsepc"],
  [0x242, "vscause"], [0x243, "vstval"], [0x244, "vsip"], [0x24d, "vstimecmp"], [0x25d, "vstimecmph"],
  [0x250, "vsiselect"], [0x251, "vsireg"], [0x254, "vsiph"], [0x25c, "vstopei"], [0x280, "vsatp"], [0xeb0, "vstopi"],
  [0x600, "hstatus"], [0x602, "hedeleg"], [0x603, "hideleg"], [0x604, "hie"], [0x605, "htimedelta"],
  [0x606, "hcounteren"], [0x607, "hgeie"], [0x608, "hvien"], [0x609, "hvictl"], [0x60a, "henvcfg"],
  ...numbered("hstateen", "", 0, 3, 0x60c), [0x613, "hidelegh"], [0x615, "htimedeltah"], [0x618, "hvienh"],
  [0x61a, "henvcfgh"], ...numbered("hstateen", "h", 0, 3, 0x61c), [0x643, "htval"], [0x644, "hip"], [0x645, "hvip"],
  [0x646, "hviprio1"], [0x647, "hviprio2"], [0x64a, "htinst"], [0x655, "hviph"], [0x656, "hviprio1h"],
  [0x657, "hviprio2h"], [0x680, "hgatp"], [0x6a8, "hcontext"], [0xe12, "hgeip"],

  [0xf11, "mvendorid"], [0xf12, "marchid"], [0xf13, "mimpid"], [0xf14, "mhartid"], [0xf15, "mconfigptr"],
  [0x300, "mstatus"], [0x301, "misa"], [0x302, "medeleg"], [0x303, "mideleg"], [0x304, "mie"], [0x305, "mtvec"],
  [0x306, "mcounteren"], [0x308, "mvien"], [0x309, "mvip"], [0x30a, "menvcfg"], ...numbered("mstateen", "", 0, 3, 0x30c),
  [0x310, "mstatush"], [0x313, "midelegh"], [0x314, "mieh"], [0x318, "mvienh"], [0x319, "mviph"], [0x31a, "menvcfgh"],
  ...numbered("mstateen", "h", 0, 3, 0x31c), [0x320, "mcountinhibit"],
  ...numbered("mhpmevent", "", 3, 31, 0x323), ...numbered("mhpmevent", "h", 3, 31, 0x723),
  [0x340, "mscratch"], [0x341, "mepc"], [0x342, "mcause"], [0x343, "mtval"], [0x344, "mip"], [0x34a, "mtinst"],
  [0x34b, "mtval2"], [0x350, "miselect"], [0x351, "mireg"], [0x354, "miph"], [0x35c, "mtopei"], [0xfb0, "mtopi"],
  ...numbered("pmpcfg", "", 0, 15, 0x3a0), ...numbered("pmpaddr", "", 0, 63, 0x3b0),
  [0x747, "mseccfg"], [0x757, "mseccfgh"],
  [0x7a0, "tselect"], [0x7a1, "tdata1"], [0x7a2, "tdata2"], [0x7a3, "tdata3"], [0x7a4, "tinfo"], [0x7a5, "tcontrol"],
  [0x7a8, "mcontext"], [0x7aa, "mscontext"], [0x7b0, "dcsr"], [0x7b1, "dpc"], [0x7b2, "dscratch0"], [0x7b3, "dscratch1"],
  [0xb00, "mcycle"], [0xb02, "minstret"], ...numbered("mhpmcounter", "", 3, 31, 0xb03),
  [0xb80, "mcycleh"], [0xb82, "minstreth"], ...numbered("mhpmcounter", "h", 3, 31, 0xb83),
]);
