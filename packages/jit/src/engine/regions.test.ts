/** What programs can do to regions that run them: change their code, trap, switch modes and page tables, return elsewhere. */
import { describe, expect, it } from "vitest";
import { agree as agreeWith, type ProgramOptions, programCpu, RAM } from "../../test/agree.js";
import type { RiscvCpu } from "../arch/riscv/cpu.js";

const SATP = 0x180;
const PMPCFG0 = 0x3a0;
const PMPADDR0 = 0x3b0;

const setCsr = (cpu: RiscvCpu, csr: number, value: bigint): void => {
  cpu.hart.csr.access(
    0,
    csr,
    Number(BigInt.asIntN(32, value)),
    Number(BigInt.asIntN(32, value >> 32n)),
    true,
  );
};
const poke64 = (cpu: RiscvCpu, gpa: number, value: bigint): void => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  cpu.options.memory.guest.write(gpa, bytes);
};
/** Share of the instructions that ran in regions. */
const share = (cpu: RiscvCpu): number => cpu.engine.counters.translated / cpu.retired();

describe.each(["wasm", "js"] as const)("in tier %s", (tier) => {
  /** {@link agreeWith} in this tier. */
  const agree = (
    source: string,
    instructions: number,
    options: ProgramOptions = {},
    slices?: readonly number[],
  ) => agreeWith(source, instructions, { tier, ...options }, slices);

  describe("budgets", () => {
    const nested = `
      li s0, 0
    again:
      li t0, 5
    outer:
      li t1, 7
    inner:
      add s0, s0, t1
      xor s0, s0, t0
      addi t1, t1, -1
      bnez t1, inner
      call twist
      addi t0, t0, -1
      bnez t0, outer
      j again
    twist:
      slli t2, s0, 13
      bltz t2, odd
      add s0, s0, t2
      ret
    odd:
      xor s0, s0, t2
      ret`;

    it.each([32, 64] as const)("end loops and calls after exactly as many instructions, RV%i", (xlen) => {
      const cpu = agree(nested, 6000, { xlen });
      expect(share(cpu)).toBeGreaterThan(0.9);
    });

    it("of every length from 1 to 60 leave the state that the interpreter leaves", () => {
      const lengths = Array.from({ length: 60 }, (_, index) => index + 1);
      agree(nested, 8000, {}, lengths);
      agree(nested, 8000, {}, lengths.reverse());
    });

    it("are spent to the last instruction", () => {
      const cpu = programCpu(nested, { tier });
      for (const slice of [10_000, 1, 17, 4095, 1000]) {
        const before = cpu.retired();
        expect(cpu.run(slice)).toBe("budget");
        expect(cpu.retired() - before).toBe(slice);
      }
    });
  });

  describe("code that changes", () => {
    /** Each round of the loop writes the immediate of an instruction further on in the same loop. */
    const patch = (fence: string) => `
      la s1, patched
      lw s2, 0(s1)
      li s3, 0
    loop:
      addi s3, s3, 1
      andi t0, s3, 0x3f
      slli t0, t0, 20
      add t0, t0, s2
      sw t0, 0(s1)
      ${fence}
      addi s4, s4, 1
    patched:
      addi a0, a1, 0
      add s5, s5, a0
      j loop`;

    it("ahead in the same block is run as it was written", () => {
      const cpu = agree(patch(""), 3000);
      expect(cpu.engine.codePages.counts.invalidated).toBeGreaterThan(20);
    });

    it("is run as it was written after fence.i", () => {
      agree(patch("fence.i"), 3000);
    });

    it("rarely, leaves the region precisely and makes a new one", () => {
      const cpu = agree(
        `
      la s1, patched
      lw s2, 0(s1)
      li s3, 0
    loop:
      addi s3, s3, 1
      andi t0, s3, 255
      bnez t0, patched
      slli t0, s3, 12
      add t0, t0, s2
      sw t0, 0(s1)
      addi s4, s4, 1
    patched:
      addi a0, a1, 0
      add s5, s5, a0
      j loop`,
        20_000,
      );
      expect(cpu.engine.counters.regionsDropped).toBeGreaterThan(1);
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    it("in another page, of a callee that the region holds", () => {
      const cpu = agree(
        `
      la s1, callee
      lw s2, 0(s1)
    loop:
      addi s3, s3, 1
      andi t0, s3, 63
      bnez t0, go
      slli t0, s3, 14
      add t0, t0, s2
      sw t0, 0(s1)
    go:
      call callee
      add s5, s5, a0
      j loop
      .balign 4096
    callee:
      addi a0, a1, 1
      ret`,
        8000,
      );
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    it("does not matter where a page holds code and data", () => {
      agree(
        `
      la s1, data
    loop:
      ld t0, 0(s1)
      addi t0, t0, 3
      sd t0, 0(s1)
      call bump
      j loop
    bump:
      lbu t1, 9(s1)
      addi t1, t1, 1
      sb t1, 9(s1)
      ret
      .balign 8
    data:
      .dword 0, 0`,
        4000,
      );
    });

    it("by an aligned store in one page that a misaligned one reaches from another", () => {
      agree(
        `
      la s1, second
      addi s1, s1, -2
      la s6, second
      lhu s2, 0(s6)
      slli s2, s2, 16
    loop:
      addi s3, s3, 1
      andi t0, s3, 31
      bnez t0, go
      sw s2, 0(s1)
    go:
      call second
      j loop
      .balign 4096
    second:
      addi a0, a1, 1
      add s5, s5, a0
      ret`,
        4000,
      );
    });
  });

  describe("instructions that lie in two pages", () => {
    /** A loop with an instruction of four bytes at offset 0xffe; `before` runs in each round ahead of it. */
    const straddling = (before: string) => `
      .option norvc
      la s1, patched
      lw s2, 0(s1)
      j loop
      .option rvc
      .balign 4096
      .zero 0xf00
    loop:
      .option norvc
      addi s3, s3, 1
      ${before}
      .option rvc
      j far
      .balign 4096
      .zero 0xffa
    far:
      addi s6, s6, 1
      c.nop
      .option norvc
    patched:
      addi a0, a1, 5
      .option rvc
      add s5, s5, a0
      j loop`;

    it("run in regions", () => {
      const cpu = agree(straddling(""), 8000, {}, [1000]);
      expect(share(cpu)).toBeGreaterThan(0.9);
      expect(cpu.engine.counters.exitsCrossing).toBeGreaterThan(0);
      expect(cpu.engine.counters.exitsCrossing).toBeLessThan(100);
    });

    it("run in slices of any length", () => {
      agree(straddling(""), 3000);
    });

    it("are run as they are after a store to their second half", () => {
      const cpu = agree(
        straddling(`andi t0, s3, 255
      slli t1, t0, 4
      ori t1, t1, 5
      bnez t0, . + 12
      sh t1, 2(s1)
      fence.i`),
        20_000,
        {},
        [1000],
      );
      expect(cpu.engine.counters.regionsDropped).toBeGreaterThan(1);
      expect(share(cpu)).toBeGreaterThan(0.5);
    });
  });

  describe("pages that get a frame of their own", () => {
    it("by a store between loads off another pointer to them are seen by the later loads", () => {
      const cpu = agree(
        `
      li s0, 0x80010000
      li s3, 0x1000
      li s4, 100
    loop:
      xor s1, s0, zero
      slli s2, s4, 1
      srli s2, s2, 1
      xor s1, s1, s2
      xor s1, s1, s4
      ld t4, 64(s0)
      bnez t4, end
      ld t0, 0(s0)
      sd s4, 8(s1)
      ld t1, 8(s0)
      ld t2, 16(s0)
      ld t3, 24(s0)
      add s5, s5, t0
      add s6, s6, t1
      add s7, s7, t2
      add s7, s7, t3
      add s0, s0, s3
      addi s4, s4, -1
      bnez s4, loop
    end:
      j end`,
        2000,
      );
      // 100 + 99 + ... + 1: each load saw the store before it.
      expect(cpu.hart.readXLow(22)).toBe(5050);
      expect(share(cpu)).toBeGreaterThan(0.5);
    });
  });

  describe("traps", () => {
    const handler = `
      la t0, handler
      csrw mtvec, t0
      j start
      .balign 4
    handler:
      csrr s8, mcause
      csrr s9, mepc
      csrr s10, mtval
      add s11, s11, s9
      xor s11, s11, s10
      addi s7, s7, 1
      addi s9, s9, 4
      csrw mepc, s9
      mret
    start:`;

    it("are precise in loops, after calls that the region holds", () => {
      const cpu = agree(
        `${handler}
      li s0, 0x80010000
      li s1, 0
    loop:
      addi s1, s1, 1
      andi t0, s1, 15
      sltiu t1, t0, 1
      slli t1, t1, 40
      mv a0, s0
      call touch
      add s2, s2, a1
      j loop
      .balign 4096
    touch:
      add a0, a0, t1
      addi s3, s3, 1
      .option push
      .option norvc
      ld a1, 8(a0)
      sd s3, 8(a0)
      .option pop
      addi s4, s4, 1
      ret`,
        8000,
      );
      expect(cpu.hart.counters.exceptions).toBeGreaterThan(20);
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    it.each([
      ["misaligned atomics", "addi t1, s0, 2\n amoadd.w a1, s1, (t1)"],
      ["illegal instructions", ".4byte 0xffffffff"],
      ["calls of the environment", "ecall"],
      ["breakpoints", ".4byte 0x00100073"],
      ["CSRs that are not there", "csrr a0, 0x5ff"],
      ["floating point that is off", "csrc mstatus, s6\n fadd.d f1, f1, f1\n csrs mstatus, s6"],
    ])("by %s are precise", (_, insn) => {
      const cpu = agree(
        `${handler}
      li s0, 0x80010000
      li s6, 0x6000
    loop:
      addi s1, s1, 1
      andi t0, s1, 7
      bnez t0, on
      ${insn}
      addi s2, s2, 1
    on:
      add s3, s3, s1
      j loop`,
        4000,
      );
      expect(cpu.hart.counters.exceptions).toBeGreaterThan(10);
    });
  });

  describe("returns", () => {
    it("to another place than the call's leave for it", () => {
      const cpu = agree(
        `
    loop:
      addi s0, s0, 1
      .option push
      .option norvc
      call skip
      addi s1, s1, 1
      .option pop
      addi s2, s2, 1
      j loop
    skip:
      andi t0, s0, 3
      addi t0, t0, -3
      sltiu t0, t0, 1
      slli t0, t0, 2
      add ra, ra, t0
      ret`,
        4000,
      );
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    it("through a register that is not ra, to callers in turn", () => {
      agree(
        `
    loop:
      jal t0, leaf
      jal t0, leaf
      jal ra, outer
      j loop
    outer:
      jal t0, leaf
      addi s1, s1, 1
      ret
    leaf:
      addi s0, s0, 1
      jr t0`,
        3000,
      );
    });

    it("of recursion unwind", () => {
      const cpu = agree(
        `
      li sp, 0x80020000
    loop:
      li a0, 12
      call fib
      add s0, s0, a0
      j loop
    fib:
      addi sp, sp, -32
      sd ra, 0(sp)
      sd s1, 8(sp)
      li t0, 2
      blt a0, t0, done
      mv s1, a0
      addi a0, s1, -1
      call fib
      sd a0, 16(sp)
      addi a0, s1, -2
      call fib
      ld t1, 16(sp)
      add a0, a0, t1
    done:
      ld ra, 0(sp)
      ld s1, 8(sp)
      addi sp, sp, 32
      ret`,
        12_000,
      );
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    it("by tables of addresses go where they say", () => {
      agree(
        `
      la s0, table
    loop:
      addi s1, s1, 5
      andi t0, s1, 3
      slli t0, t0, 3
      add t0, t0, s0
      ld t0, 0(t0)
      jalr t0
      add s3, s3, a0
      j loop
    f0:
      li a0, 1
      ret
    f1:
      slli a0, s3, 1
      ret
    f2:
      not a0, s3
      ret
      .balign 8
    table:
      .dword f0, f1, f2, f1`,
        4000,
      );
    });
  });

  describe("modes and page tables", () => {
    const LEVEL1 = 0x80040000;
    /** Two root tables that differ in where 0x80200000 leads: RAM + 0x20000 or RAM + 0x30000, by pages of 4 KiB. */
    const twoTables = (cpu: RiscvCpu): void => {
      for (const [number, target] of [0x80020000, 0x80030000].entries()) {
        const root = LEVEL1 + number * 0x4000;
        const pointer = (gpa: number) => (BigInt(gpa >>> 12) << 10n) | 1n;
        const leaf = (gpa: number, flags: bigint) => (BigInt(gpa >>> 12) << 10n) | flags;
        poke64(cpu, root + 2 * 8, pointer(root + 0x1000));
        poke64(cpu, root + 0x1000, leaf(RAM, 0xcfn));
        poke64(cpu, root + 0x1000 + 8, pointer(root + 0x2000));
        for (let page = 0; page < 4; page++) {
          poke64(cpu, root + 0x2000 + page * 8, leaf(target + page * 0x1000, 0xcfn));
        }
      }
      for (let word = 0; word < 0x800; word++) {
        poke64(cpu, 0x80020000 + word * 8, BigInt(word));
        poke64(cpu, 0x80030000 + word * 8, BigInt(word * 1000));
      }
      setCsr(cpu, PMPADDR0, -1n);
      setCsr(cpu, PMPCFG0, 0x1fn);
    };
    const satpOf = (number: number): bigint => (8n << 60n) | BigInt((LEVEL1 + number * 0x4000) >>> 12);
    const supervisor: ProgramOptions = {
      prepare: (cpu) => {
        twoTables(cpu);
        setCsr(cpu, SATP, satpOf(0));
        cpu.hart.state.mode = 1;
        cpu.hart.selectTlbs();
      },
    };
    const tables = `
      li s0, ${satpOf(0)}
      li s1, ${satpOf(1)}
      li s2, 0x80200000`;

    it("another page table is in force after satp and sfence.vma in the middle of a loop", () => {
      const cpu = agree(
        `${tables}
    loop:
      addi s3, s3, 8
      andi t0, s3, 0x7f8
      add t0, t0, s2
      ld t1, 0(t0)
      add s4, s4, t1
      csrw satp, s1
      sfence.vma
      ld t1, 0(t0)
      add s5, s5, t1
      csrw satp, s0
      sfence.vma zero, zero
      j loop`,
        4000,
        supervisor,
      );
      expect(cpu.hart.readXLow(21)).not.toBe(cpu.hart.readXLow(20));
    });

    it("a region that spans pages notices that one of them leads elsewhere", () => {
      // The callee at 0x80200000 differs in the two tables: addi a0, a0, 1 or addi a0, a0, 2; ret.
      const cpu = agree(
        `${tables}
      .equ callee, 0x80200000
    loop:
      li s3, 40
    inner:
      call callee
      addi s3, s3, -1
      bnez s3, inner
      xor t0, s0, s1
      xor s6, s6, t0
      xor t1, s0, s6
      csrw satp, t1
      sfence.vma
      j loop`,
        12_000,
        {
          prepare: (cpu) => {
            supervisor.prepare!(cpu);
            poke64(cpu, 0x80020000, 0x0000_8067_0015_0513n);
            poke64(cpu, 0x80030000, 0x0000_8067_0025_0513n);
          },
        },
      );
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    const leafOf = (gpa: number): bigint => (BigInt(gpa >>> 12) << 10n) | 0xcfn;
    /** Swaps the frame of the page 0x80200000 in the table that is in force; its address is in s2, the entry's in s7. */
    const swapFrame = `
      ld t0, 0(s7)
      xor t0, t0, s8
      sd t0, 0(s7)`;
    const swapping = `
      csrw satp, s0
      sfence.vma
      li s7, ${LEVEL1 + 0x2000}
      li s8, ${leafOf(0x80020000) ^ leafOf(0x80030000)}`;

    it("a page of data is another one after sfence.vma for it, and code goes on behind that", () => {
      const cpu = agree(
        `${tables}
      ${swapping}
      addi s2, s2, 8
    loop:
      ld t1, 0(s2)
      add s4, s4, t1
      ${swapFrame}
      sfence.vma s2
      ld t1, 0(s2)
      add s5, s5, t1
      fence.i
      j loop`,
        6000,
        supervisor,
      );
      // 1 and 1000, in turns.
      expect(cpu.hart.readXLow(20)).toBeGreaterThan(100_000);
      expect(cpu.hart.readXLow(21)).toBeGreaterThan(100_000);
      expect(cpu.hart.counters.sfence).toBeGreaterThan(500);
      expect(cpu.hart.counters.fenceI).toBeGreaterThan(500);
      expect(share(cpu)).toBeGreaterThan(0.8);
      expect(cpu.engine.counters.exitsRedirect).toBeLessThan(100);
    });

    it("a page of code is another one after sfence.vma for it, in the region that spans it as well", () => {
      const cpu = agree(
        `${tables}
      ${swapping}
      .equ callee, 0x80200000
    loop:
      li s3, 40
    inner:
      call callee
      addi s3, s3, -1
      bnez s3, inner
      ${swapFrame}
      sfence.vma s2
      call callee
      slli s4, s4, 1
      add s4, s4, a0
      j loop`,
        12_000,
        {
          prepare: (cpu) => {
            supervisor.prepare!(cpu);
            poke64(cpu, 0x80020000, 0x0000_8067_0015_0513n);
            poke64(cpu, 0x80030000, 0x0000_8067_0025_0513n);
          },
        },
      );
      expect(share(cpu)).toBeGreaterThan(0.5);
    });

    it("MPRV applies from the next load on", () => {
      const cpu = agree(
        `
      la t0, handler
      csrw mtvec, t0
      li t0, 0x1000
      csrc mstatus, t0
      li t0, 0x800
      csrs mstatus, t0
      ${tables}
      csrw satp, s0
      li s6, 0x20000
    loop:
      csrs mstatus, s6
      .option push
      .option norvc
      ld t1, 16(s2)
      csrc mstatus, s6
      ld t2, 16(s2)
      .option pop
      add s4, s4, t1
      j loop
      .balign 4
    handler:
      addi s7, s7, 1
      csrr t6, mepc
      addi t6, t6, 4
      csrw mepc, t6
      li t6, 0x1800
      csrs mstatus, t6
      la t6, lowered
      csrw mscratch, t6
      mret
    lowered:
      nop`,
        3000,
        { prepare: twoTables },
      );
      expect(cpu.hart.counters.exceptions).toBeGreaterThan(20);
    });

    it("user code and its supervisor take turns", () => {
      const cpu = agree(
        `
      la t0, handler
      csrw mtvec, t0
      la t0, user
      csrw mepc, t0
      li t0, 0x1800
      csrc mstatus, t0
      mret
    user:
      li s0, 20
    count:
      addi s1, s1, 3
      addi s0, s0, -1
      bnez s0, count
      ecall
      j user
      .balign 4
    handler:
      addi s2, s2, 1
      csrr s3, mepc
      addi s3, s3, 4
      csrw mepc, s3
      mret`,
        8000,
        { prepare: twoTables },
      );
      expect(cpu.hart.counters.exceptions).toBeGreaterThan(50);
      expect(share(cpu)).toBeGreaterThan(0.5);
    });
  });

  describe("debuggers", () => {
    it("stop at breakpoints in the middle of regions, and regions come back afterwards", () => {
      const cpu = programCpu(
        `
    loop:
      addi s0, s0, 1
    middle:
      addi s1, s1, 1
      j loop`,
        { tier },
      );
      cpu.run(1000);
      expect(cpu.engine.regionStatistics().regions).toBeGreaterThan(0);
      cpu.engine.setBreakpoints(new Set([BigInt(RAM + 2)]));
      for (let round = 0; round < 3; round++) {
        expect(cpu.run(1000)).toBe("stop");
        expect(cpu.engine.atBreakpoint).toBe(true);
        expect(cpu.hart.pcLow >>> 0).toBe(RAM + 2);
        cpu.engine.passBreakpoint();
      }
      cpu.engine.setBreakpoints(new Set());
      const before = cpu.engine.counters.translated;
      cpu.run(3000);
      expect(cpu.engine.counters.translated - before).toBeGreaterThan(2000);
    });
  });
});
