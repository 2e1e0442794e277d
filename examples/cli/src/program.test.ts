import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DebianError, type DebianGuest } from "@hyperfile/machine/debian";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FakeInput, FakeMachine, FakeOutput } from "../test/streams.js";
import type { MachineEnd } from "./machine-types.js";
import { type ProgramSurroundings, runProgram } from "./program.js";

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
  file = join(folder, "program");
  await writeFile(file, "not empty");
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the command line with a machine that ends with `end`, or runs until it is stopped. */
async function hyperfile(args: string[], end?: MachineEnd, prepare?: () => Promise<DebianGuest>) {
  const machines: FakeMachine[] = [];
  const output = new FakeOutput();
  let text = "";
  let errors = "";
  const surroundings: ProgramSurroundings = {
    version: "1.2.3",
    streams: { input: new FakeInput(false), output, error: (line) => (errors += line) },
    write: (part) => (text += part),
    machine: async () => ({
      createMachine: async (options) => {
        const machine = new FakeMachine(options);
        machines.push(machine);
        if (end) machine.end(end);
        return machine;
      },
      explain: ({ name }, { at, backend }) => ({
        file: name,
        address: String(at),
        isa: "rv64gc",
        stages: [{ name: backend, lines: [`explained ${name} at ${at}`, "and more"] }],
      }),
      disassemble: () => ["a", "b"],
    }),
    ...(prepare ? { prepare } : {}),
  };
  const status = await runProgram(args, surroundings);
  return { status, text, errors, options: machines[0]?.options };
}

describe("mistakes on the command line", () => {
  it.each<[string[], RegExp]>([
    [[], /no command given/],
    [["strat"], /unknown command 'strat' \(did you mean start\?\)/],
    [["run"], /nothing to run/],
    [["run", "--memry", "1G"], /unknown option '--memry' \(did you mean --memory\?\)/],
    [["run", "--elf", "x", "--memory", "256"], /--memory.*unit/],
    [["run", "--elf", "x", "--memory", "0M"], /--memory.*from 1M to 2G/],
    [["run", "--elf", "x", "--memory", "3G"], /--memory.*from 1M to 2G/],
    [["run", "--elf", "x", "--memory", "1025.5K"], /--memory.*pages/],
    [["run", "--elf", "x", "--timeout", "soon"], /--timeout.*seconds/],
    [["run", "--elf", "x", "--tier", "fast"], /--tier.*fast.*auto, interpreter, js/],
    [["run", "--elf", "x", "--isa", "rv128"], /--isa.*rv64gc, rv32gc/],
    [["run", "--elf", "x", "--kernel", "y"], /--elf and --kernel/],
    [["run", "--firmware", "x", "--initrd", "y"], /--initrd needs --kernel/],
    [["run", "program"], /too many arguments/],
    [
      ["run", "--elf", "x", "--dump", "insn,all"],
      /--dump.*no dump "all"; there are insn, ir, opt, emit, exit, mmu, irq/,
    ],
    [["run", "--elf", "x", "--dump", ""], /--dump.*no dump ""/],
    [["run", "--elf", "x", "--dump", "ir", "--filter", "0x10"], /--filter.*address and a number of bytes/],
    [["run", "--elf", "x", "--dump", "ir", "--filter", "0x10+x"], /--filter.*Give an address/],
    [["run", "--elf", "x", "--dump", "ir", "--filter", "0x10+0"], /--filter.*at least one byte/],
    [["run", "--elf", "x", "--filter", "0x10+4"], /--filter needs --dump/],
    [["run", "--elf", "x", "--dump-file", "y"], /--dump-file needs --dump/],
    [["top", "x", "--count", "0"], /--count.*1 to 10000/],
    [["top", "x", "--at", "main"], /--at.*address/],
    [["explain"], /missing required argument 'file'/],
    [["explain", "x", "--at", "main"], /--at.*address/],
    [["explain", "x", "--backend", "c"], /--backend.*js, wasm, both/],
    [["disasm", "x", "--at", "1"], /unknown option '--at'/],
  ])("%j", async (args, message) => {
    const { status, errors, text } = await hyperfile(args);
    expect(status).toBe(2);
    expect(errors).toMatch(message);
    expect(errors).toMatch(/^hyperfile: [^\n]+\n$/);
    expect(text).toBe("");
  });

  it.each<[() => string[], RegExp]>([
    [() => ["run", "--elf", join(folder, "none")], /can't read the program .*none: no such file/],
    [() => ["run", "--kernel", folder], /can't read the kernel .*: it is a folder/],
    [() => ["disasm", join(folder, "none")], /no such file/],
    [() => ["run", "--elf", file, "--stats", join(folder, "none", "stats")], /can't write the statistics/],
    [
      () => ["run", "--elf", file, "--dump", "ir", "--dump-file", join(folder, "none", "dump")],
      /can't write the dump to .*: no such file/,
    ],
    [() => ["top", join(folder, "none")], /can't read the profile .*none: no such file.*run --profile/],
    [() => ["top", "2147483647"], /can't read the profile .*hyperfile-2147483647/],
    [() => ["top", folder], /can't read the profile .*: it is a folder/],
    [() => ["top", file], /program is no profile: it is not JSON/],
  ])("files that can't be used, %#", async (args, message) => {
    const { status, errors } = await hyperfile(args());
    expect(status).toBe(1);
    expect(errors).toMatch(message);
    expect(errors).toMatch(/^hyperfile: [^\n]+\n$/);
  });

  it("an empty file, and a program of another width", async () => {
    const empty = join(folder, "empty");
    await writeFile(empty, "");
    expect((await hyperfile(["run", "--elf", empty])).errors).toMatch(/empty is empty/);
    const elf = join(folder, "elf32");
    await writeFile(elf, Buffer.from([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0]));
    expect((await hyperfile(["run", "--elf", elf, "--isa", "rv64gc"])).errors).toMatch(/32-bit program/);
    const { options } = await hyperfile(["run", "--elf", elf], { kind: "exit", status: 0 });
    expect(options?.xlen).toBe(32);
  });
});

describe("runs", () => {
  it("hand the options on and end with the guest's status", async () => {
    const stats = join(folder, "stats.json");
    const args = [
      "run",
      "--kernel",
      file,
      "--append",
      "a b",
      "--memory",
      "1G",
      "--tier",
      "js",
      "--gdb",
      "1234",
    ];
    const { status, options } = await hyperfile([...args, "--stats", stats], { kind: "exit", status: 7 });
    expect(status).toBe(7);
    expect(options).toMatchObject({
      memoryBytes: 2 ** 30,
      append: "a b",
      tier: "js",
      gdbPort: 1234,
      xlen: 64,
    });
    expect(options?.kernel?.name).toBe(file);
    expect(JSON.parse(await readFile(stats, "utf8"))).toEqual({ instructions: 42 });
  });

  it("end after the time limit with a status of its own", async () => {
    const { status, errors } = await hyperfile(["run", "--elf", file, "--timeout", "0.01"]);
    expect(status).toBe(124);
    expect(errors).toMatch(/stopped after 0.01 seconds/);
  });

  it("report a guest that can't go on in one line", async () => {
    const { status, errors } = await hyperfile(["run", "--elf", file], {
      kind: "error",
      status: 0,
      message: "bad\ninsn",
    });
    expect(status).toBe(1);
    expect(errors).toBe("hyperfile: bad; insn\n");
  });

  it("show what the translator makes of a program", async () => {
    expect((await hyperfile(["explain", file, "--at", "0x10"])).text).toBe(
      `== both\nexplained ${file} at 16\nand more\n`,
    );
    const { text } = await hyperfile(["explain", file, "--backend", "wasm", "--json"]);
    expect(JSON.parse(text)).toMatchObject({ file, stages: [{ name: "wasm" }] });
    expect((await hyperfile(["disasm", file])).text).toBe("a\nb\n");
  });

  it("answer --version and --help on standard output", async () => {
    expect(await hyperfile(["--version"])).toMatchObject({ status: 0, text: "1.2.3\n", errors: "" });
    const help = await hyperfile(["--help"]);
    expect(help.status).toBe(0);
    expect(help.text).toContain("Ctrl-A x");
    for (const command of ["up", "daemon"])
      for (const name of ["HYPERFILE_STATE", "HYPERFILE_SOCKET"])
        expect((await hyperfile([command, "--help"])).text).toContain(name);
  });
});

describe("start", () => {
  it("boots Debian, which reads commands when there is no terminal", async () => {
    const guest = { kernel: file, initrd: file, release: "6.12", cached: true };
    const { status, options } = await hyperfile(["start"], { kind: "off", status: 0 }, async () => guest);
    expect(status).toBe(0);
    expect(options?.append).toBe("console=ttyS0 quiet hyperfile.input=pipe");
    expect(options?.initrd?.name).toBe(file);
  });

  it("says in one line why Debian can't be had", async () => {
    const { errors } = await hyperfile(["start"], { kind: "off", status: 0 }, async () => {
      throw new DebianError("E_NO_APT", "no apt on this host");
    });
    expect(errors.split("\n")[0]).toBe(
      "hyperfile: no Debian guest (no apt on this host); starting the embedded one",
    );
  });

  it("fails when the cache can't be written", async () => {
    const { status, errors, options } = await hyperfile(["start"], undefined, async () => {
      throw new DebianError("E_CACHE", "can't write the cache folder /x: permission denied");
    });
    expect(status).toBe(1);
    expect(errors).toBe("hyperfile: can't write the cache folder /x: permission denied\n");
    expect(options).toBeUndefined();
  });
});
