/**
 * Names and numbers of CSRs as the manuals give them (privileged manual, chapter 2): the one place that says which
 * number a CSR of a ratified extension has. What a hart does with one is its own matter; CSRs that are no part of the
 * manuals bring name and number with their extension.
 */

/** A CSR's name and number. */
export interface CsrName {
  readonly name: string;
  /** 12 bits, of which the upper four say who may access it (privileged manual, 2.1). */
  readonly number: number;
}

const numbered = (name: string, suffix: string, from: number, to: number, base: number): [number, string][] =>
  Array.from({ length: to - from + 1 }, (_, index) => [base + index, `${name}${from + index}${suffix}`]);

/** Names of the manuals' CSRs by number, those of absent extensions too: unknown CSRs still deserve their names in a listing. */
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

const csrNumbers: ReadonlyMap<string, number> = new Map(
  [...csrNames].map(([number, name]) => [name, number]),
);

/**
 * The number of a CSR of the manuals.
 * @throws RangeError if they have none of this name
 */
export function csrNumber(name: string): number {
  const number = csrNumbers.get(name);
  if (number === undefined)
    throw new RangeError(
      `the manuals have no CSR ${name}: write its row with a number of its own, { name, number }`,
    );
  return number;
}
