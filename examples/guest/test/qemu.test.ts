/** The guest under QEMU, an implementation that is not ours: what fails here is the guest's fault. */
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { compilerPrefix, QemuGuest, runTool, versionOf } from "./tools.js";

const hasCompiler = versionOf(`${compilerPrefix}gcc`) !== undefined;

/** SHA-256 of what the guest's digest command generates. */
function digestOf(bytes: number): string {
  const data = new Uint8Array(bytes);
  let x = 0x2545f491;
  for (let i = 0; i < bytes; i++) {
    if (i % 4 === 0) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
    }
    data[i] = x >>> (8 * (i % 4));
  }
  return createHash("sha256").update(data).digest("hex");
}

describe.each([64, 32] as const)("the RV%i guest under QEMU", (xlen) => {
  const missing =
    versionOf(`qemu-system-riscv${xlen}`) === undefined
      ? `qemu-system-riscv${xlen} is not installed`
      : hasCompiler
        ? undefined
        : `${compilerPrefix}gcc, which builds the tests' firmware, is not installed`;
  let folder = "";
  let guest: QemuGuest | undefined;

  function boot(args: readonly string[] = [], input?: string): QemuGuest {
    guest = new QemuGuest(xlen, ["-bios", join(folder, "firmware.elf"), ...args], input);
    return guest;
  }

  beforeAll(async () => {
    if (missing !== undefined) return;
    folder = await mkdtemp(join(tmpdir(), "hyperfile-guest-"));
    const target = xlen === 64 ? ["-march=rv64gc", "-mabi=lp64d"] : ["-march=rv32gc", "-mabi=ilp32d"];
    const link = ["-nostdlib", "-static", "-Wl,-Ttext=0x80000000", "-Wl,--build-id=none", "-mcmodel=medany"];
    const output = join(folder, "firmware.elf");
    runTool(`${compilerPrefix}gcc`, [...target, ...link, "-Ikernel", "test/firmware.S", "-o", output]);
  });
  afterEach(() => guest?.stop());
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it("boots to its prompt in less than ten million instructions", async (context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot(["-icount", "shift=0"]); // an instruction takes a nanosecond of the guest's time
    await machine.until("guest# ");
    const times = /^up (\d+)\.(\d+) s, idle (\d+)\.(\d+) s/.exec(await machine.run("uptime"));
    expect(await machine.run("clock")).toContain(", ok\n"); // QEMU's counters are true only with -icount
    expect(times).not.toBeNull();
    const [up, upMilliseconds, idle, idleMilliseconds] = times!.slice(1).map(Number);
    expect((up - idle) * 1000 + upMilliseconds - idleMilliseconds).toBeLessThan(10);
  });

  it.for(["on", "off"])("passes its own tests with Sstc %s", async (sstc, context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot(["-cpu", `rv${xlen},sstc=${sstc}`]);
    await machine.until("guest# ");
    expect(await machine.run("cpuinfo")).toContain(sstc === "on" ? "stimecmp" : "by sbi");
    for (const command of ["burn 2", "touch 4000", "smc", "fp", "fault"]) {
      expect(await machine.run(command)).toMatch(/ok\n$/);
    }
    expect(await machine.run("time sleep 0.05")).toMatch(/^real 0\.\d+ s, cpu 0\.0\d\d s\n$/);
    for (const bytes of [0, 55, 56, 64, 5000]) {
      expect(await machine.run(`digest ${bytes}`)).toBe(`digest: ${digestOf(bytes)} ${bytes} bytes\n`);
    }
  });

  it("preempts processes in the background and gives their memory back", async (context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot();
    await machine.until("guest# ");
    const free = (text: string) => /free (\d+) KiB/.exec(text)?.[1];
    await machine.run("ps");
    const before = free(await machine.run("mem"));
    expect(await machine.run("burn 20 & burn 20 & ps")).toMatch(/ready .* burn\n.*ready .* burn\n.* ps\n$/);
    const waited = await machine.run("wait");
    expect(waited.match(/burn: 20 million steps, .*, ok\n/g)).toHaveLength(2);
    expect(waited.match(/ended: status 0\n/g)).toHaveLength(2);
    expect(free(await machine.run("mem"))).toBe(before);
  });

  it("ends processes that are killed, interrupted or without memory, and no other", async (context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot();
    await machine.until("guest# ");
    const pid = /\[(\d+)\] sleep/.exec(await machine.run("sleep 1000 &"))?.[1];
    expect(await machine.run(`kill ${pid}`)).toContain(`[${pid}] ended: killed\n`);
    expect(await machine.run(`kill ${pid}`)).toContain("no such process");
    expect(await machine.run("kill 1")).toContain("not permitted");
    machine.send("burn 4000\n");
    await machine.until("burn 4000\n");
    machine.send("\x03");
    expect(await machine.until("guest# ")).toMatch(/^burn \(\d+\): killed\n$/);
    expect(await machine.run("touch 40000 & touch 40000 & wait")).toMatch(/touch\) killed: out of memory\n/);
    expect(await machine.run("touch 40000")).toContain("ok");
    expect(await machine.run("fault null-write ; echo alive")).toMatch(
      /store page fault.*value 0x0\nalive\n$/,
    );
  });

  it("refuses more processes than it has room for", async (context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot();
    await machine.until("guest# ");
    for (let i = 0; i < 31; i++) await machine.run("sleep 1000 &");
    expect(await machine.run("echo no")).toContain("out of memory or processes");
  });

  it("edits lines and recalls earlier ones", async (context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot();
    await machine.until("guest# ");
    machine.send("ecko\x7f\x7fho one\n");
    await machine.until("\none\nguest# ");
    machine.send("two\x01echo \x05 three\n");
    await machine.until("\ntwo three\nguest# ");
    machine.send("junk\x15echo words and\x17more\r\n");
    await machine.until("\nwords more\nguest# ");
    machine.send("\x1b[A\x1b[A\n");
    await machine.until("\ntwo three\nguest# ");
    machine.send("dropped\x03echo kept\n");
    await machine.until("^C\nguest# echo kept\nkept\nguest# ");
  });

  it("takes everything that is piped in, and ends with the status asked for", async (context) => {
    context.skip(missing !== undefined, missing);
    const lines = Array.from({ length: 200 }, (_, i) => `echo line ${i}`);
    const machine = boot([], `burn 10\n${lines.join("\n")}\npoweroff 7\n`);
    expect(await machine.status()).toBe(7);
    const shown = machine.output.match(/^line \d+$/gm);
    expect(shown).toEqual(lines.map((line) => line.slice("echo ".length)));
  });

  it("powers off and reboots", async (context) => {
    context.skip(missing !== undefined, missing);
    const machine = boot();
    await machine.until("guest# ");
    machine.send("reboot\n");
    await machine.until("Hyperfile guest");
    await machine.until("guest# ");
    expect(await machine.run("poweroff 256")).toContain("usage: poweroff");
    machine.send("poweroff\n");
    expect(await machine.status()).toBe(0);
  });

  it("has no use for memory that it does not touch, and leaves other harts asleep", async (context) => {
    context.skip(missing !== undefined, missing);
    const memory = xlen === 64 ? "3G" : "2G";
    const machine = boot(["-m", memory]);
    await machine.until("guest# ");
    expect(await machine.run("mem")).toMatch(xlen === 64 ? /total 31\d{5} KiB/ : /total 209\d{4} KiB/);
    expect(await machine.run("fp")).toContain("registers ok, sums ok, rounding ok");
  });
});

describe("the RV64 guest under QEMU's OpenSBI", () => {
  it("boots on one of several harts, and shuts down", async (context) => {
    const missing = versionOf("qemu-system-riscv64") === undefined;
    context.skip(missing, "qemu-system-riscv64 is not installed");
    const machine = new QemuGuest(64, ["-smp", "2"]);
    try {
      await machine.until("guest# ");
      expect(await machine.run("cpuinfo")).toMatch(/hart: {5}[01] of 2\n[\s\S]*OpenSBI/);
      expect(await machine.run("burn 1")).toMatch(/ok\n$/);
      machine.send("\x04");
      expect(await machine.status()).toBe(0);
    } finally {
      await machine.stop();
    }
  });
});
