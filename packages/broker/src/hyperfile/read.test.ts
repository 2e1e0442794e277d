/** Hyperfiles: what a good one means, and the message of every kind of mistake, with its line and field. */
import { readFileSync } from "node:fs";
import { guestKinds } from "@hyperfile/machine/guests";
import { describe, expect, it } from "vitest";
import type { GuestKinds } from "./guest-kinds.js";
import { readHyperfile } from "./read.js";
import { hyperfileSchema } from "./schema.js";
import { nearest } from "./suggest.js";
import { HyperfileError, type HyperfileSpec } from "./types.js";

const host = { cores: 4, memoryBytes: 2 ** 31, guests: guestKinds };
const read = (text: string): Promise<HyperfileSpec> => readHyperfile(text, "fleet.yaml", host);

/** What the reader complains about, a line a mistake; empty for a good file. */
async function complaints(text: string): Promise<string[]> {
  try {
    await read(text);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(HyperfileError);
    return (error as HyperfileError).problems.map(
      ({ line, field, message }) => `${line} ${field}: ${message}`,
    );
  }
}

describe("files that it names", () => {
  const text = `kernels:
  own: { file: boot/Image, initrd: boot/initrd }
vms:
  a: { kernel: own, firmware: fw.bin }
  b: { kernel: ./Image }
  c: { program: ./prog.elf }
  d: { kernel: embedded, disks: [./there.img, { file: gone.img }, { file: new.img, format: raw, size: 1M }] }
`;
  it("are looked for where the caller can, each with its line and field", async () => {
    const there = new Set(["boot/Image", "./prog.elf", "./there.img"]);
    const reading = readHyperfile(text, "fleet.yaml", host, (file) => there.has(file));
    const problems = await reading.catch((error: HyperfileError) => error.problems);
    const remedy = "names are taken from the folder of the Hyperfile";
    expect(problems).toMatchObject([
      { line: 4, field: "vms.a.firmware", message: `there is no file fw.bin: ${remedy}` },
      { line: 5, field: "vms.b.kernel", message: `there is no file ./Image: ${remedy}` },
      {
        line: 7,
        field: "vms.d.disks[1].file",
        message: `there is no file gone.img: ${remedy}; give size to have it made`,
      },
      { line: 2, field: "kernels.own.initrd", message: `there is no file boot/initrd: ${remedy}` },
    ]);
    expect((await read(text)).vms).toHaveLength(4);
  });
});

it("what the machines have no device for is refused where it stands", async () => {
  const text =
    "images:\n  root: { file: r }\nvms:\n  a: { kernel: embedded, disks: [root] }\n  b: { kernel: embedded }\n";
  const reading = readHyperfile(text, "fleet.yaml", { ...host, lacks: ["disks"] });
  await expect(reading).rejects.toThrow(
    /^fleet.yaml:4:26: vms.a.disks: machines have no disks here yet: leave them out$/,
  );
  expect((await read(text)).vms[0]?.disks).toHaveLength(1);
});

describe("a good file", () => {
  it("needs no more than a VM and what it boots", async () => {
    const [vm] = (await read("vms:\n  one:\n    kernel: embedded\n")).vms;
    expect(vm).toMatchObject({
      name: "one",
      boot: { kernel: { builtin: "embedded" }, append: "" },
      memoryBytes: 256 * 2 ** 20,
      cpu: { shares: 1000, reservation: 0, limit: Infinity },
      disk: {
        shares: 1000,
        iops: { reservation: 0, limit: Infinity },
        bandwidth: { reservation: 0, limit: Infinity },
      },
      pool: "root",
      restart: "never",
      autostart: true,
      disposable: false,
      shell: "embedded",
      shutdown: "poweroff",
      after: [],
      provision: [],
    });
  });

  it("says what all disks of a VM, or in a pool, may have of the store", async () => {
    const spec = await read(`
pools:
  slow: { disk: { shares: high, iops: { limit: 400, reservation: 100 }, expandable: false } }
vms:
  a:
    kernel: embedded
    pool: slow
    disk: { shares: 2000, iops: { limit: 500, reservation: 100 }, bandwidth: { limit: 20M } }
`);
    expect(spec.pools[0]!.disk).toEqual({
      shares: 2000,
      iops: { reservation: 100, limit: 400 },
      bandwidth: { reservation: 0, limit: Infinity },
      expandable: false,
    });
    expect(spec.vms[0]!.disk).toEqual({
      shares: 2000,
      iops: { reservation: 100, limit: 500 },
      bandwidth: { reservation: 0, limit: 20 * 2 ** 20 },
    });
  });

  it.each([
    ["{ iop: { limit: 5 } }", /vms.a.disk.iop: unknown field; did you mean iops\?$/],
    ["{ iops: 5 }", /vms.a.disk.iops: 5 is not a mapping of names to values$/],
    ["{ iops: { limit: 1.5 } }", /vms.a.disk.iops.limit: 1.5 is not a whole number of operations a second$/],
    ["{ iops: { limit: 0 } }", /vms.a.disk.iops.limit: a limit of 0 would let it have nothing: give more$/],
    [
      "{ iops: { limit: 5, reservation: 6 } }",
      /vms.a.disk.iops.reservation: a reservation of 6 is above the limit of 5$/,
    ],
    [
      "{ bandwidth: { limit: 5 } }",
      /vms.a.disk.bandwidth.limit: 5 is not a size with its unit, such as 256M or 1.5G$/,
    ],
    [
      "{ iops: { reservation: 60 } }",
      /vms.a.disk: VM a can't be admitted: a reservation of 60 disk operations a second is needed in pool p, which has 50 disk operations a second left, and it can't borrow; lower a reservation or stop a VM$/,
    ],
    [
      "{ bandwidth: { reservation: 3M } }",
      /vms.a.disk: VM a can't be admitted: a reservation of 3M a second of disk bandwidth is needed in pool p, which has 2M a second of disk bandwidth left, and it can't borrow;/,
    ],
  ])("but not disk: %s", async (disk, message) => {
    const pool = "{ disk: { iops: { reservation: 50 }, bandwidth: { reservation: 2M }, expandable: false } }";
    const text = `pools: { p: ${pool} }\nvms: { a: { kernel: embedded, pool: p, disk: ${disk} } }\n`;
    await expect(read(text)).rejects.toThrow(message);
  });

  it("says everything else about pools, resources, consoles, provisioning and order", async () => {
    const spec = await read(`
name: shop
host: { cores: 2, memory: 1G }
pools:
  inner: { pool: outer, cpu: { shares: high } }
  outer:
    cpu: { shares: 3000, reservation: 50%, limit: 1.5, expandable: false }
    memory: { reservation: 256M }
images:
  root: { file: root.qcow2, format: qcow2, ephemeral: true }
kernels:
  own: { file: ./Image, initrd: ./initrd, append: quiet, shell: posix, isa: rv64gc }
vms:
  web:
    kernel: own
    append: console=ttyS0
    memory: { size: 128M, reservation: 64M, shares: low }
    cpu: { shares: 2000, reservation: 0.25, limit: 1 }
    pool: inner
    console: { columns: 132, rows: 40, log: 1M }
    disks:
      - root
      - { image: root, readonly: true, ephemeral: false, serial: two }
      - ./data.raw
      - { file: scratch.img, format: raw, size: 64M, cache: unsafe }
      - { file: "https://example.org/base.qcow2", readonly: true }
    provision:
      - echo hello
      - { run: make, timeout: 10s, status: 2 }
    after: [db]
    restart: on-failure
    time: 1h
  db: { program: ./db.elf, memory: 16M, disposable: true, autostart: false, shares: [{ folder: src, tag: s, readonly: true, uid: 5 }, { folder: /srv, tag: t }] }
`);
    expect(spec.name).toBe("shop");
    expect(spec.host).toEqual({ cores: 2, memoryBytes: 2 ** 30 });
    expect(spec.pools.map(({ name, parent }) => `${parent}/${name}`)).toEqual(["root/outer", "outer/inner"]);
    expect(spec.pools[0]?.cpu).toEqual({ shares: 3000, reservation: 0.5, limit: 1.5, expandable: false });
    expect(spec.pools[1]?.cpu.shares).toBe(2000);
    expect(spec.vms.map(({ name }) => name)).toEqual(["db", "web"]);
    const web = spec.vms[1]!;
    expect(web.boot).toEqual({
      kernel: { file: "./Image" },
      initrd: "./initrd",
      append: "quiet console=ttyS0",
    });
    expect(web.memory).toEqual({ shares: 500, reservation: 64 * 2 ** 20, limit: Infinity });
    expect(web.cpu).toEqual({ shares: 2000, reservation: 0.25, limit: 1 });
    expect(web.console).toEqual({ columns: 132, rows: 40, logBytes: 2 ** 20 });
    const usual = {
      format: undefined,
      readonly: false,
      ephemeral: false,
      cache: "writeback",
      serial: undefined,
      sizeBytes: undefined,
    };
    expect(web.disks).toEqual([
      { ...usual, file: "root.qcow2", format: "qcow2", ephemeral: true },
      { ...usual, file: "root.qcow2", format: "qcow2", readonly: true, serial: "two" },
      { ...usual, file: "./data.raw" },
      { ...usual, file: "scratch.img", format: "raw", sizeBytes: 64 * 2 ** 20, cache: "unsafe" },
      { ...usual, file: "https://example.org/base.qcow2", readonly: true },
    ]);
    expect(web.provision).toEqual([
      { run: "echo hello", timeoutMs: 300_000, status: 0 },
      { run: "make", timeoutMs: 10_000, status: 2 },
    ]);
    expect(web.timeLimitMs).toBe(3_600_000);
    expect(spec.vms[0]!.shares).toEqual([
      { folder: "src", tag: "s", readonly: true, uid: 5, gid: 0 },
      { folder: "/srv", tag: "t", readonly: false, uid: 0, gid: 0 },
    ]);
    expect(web.shares).toEqual([]);
    expect(spec.vms[0]).toMatchObject({ disposable: true, autostart: false, shutdown: undefined });
  });

  it("can use YAML's anchors and merges", async () => {
    const { vms } = await read(
      "vms:\n  a: &base { kernel: embedded, memory: 32M }\n  b: { <<: *base, cpu: { shares: 5 } }\n",
    );
    expect(vms[1]).toMatchObject({ memoryBytes: 2 ** 25, cpu: { shares: 5 } });
  });
});

/** A file with one VM that has these lines more. */
const vm = (...lines: string[]): string =>
  ["vms:", "  web:", "    kernel: embedded", ...lines.map((line) => `    ${line}`)].join("\n");

describe("mistakes", () => {
  const alone = "make the disk ephemeral or readonly for each VM, or give each a file of its own";
  const which = "Give image with a name of images, or file";
  const cases: readonly [what: string, text: string, ...expected: string[]][] = [
    ["nothing at all", "", "1 : the file is empty: declare at least one VM under vms"],
    ["a comment only", "# nothing\n", "1 : the file is empty: declare at least one VM under vms"],
    ["no VMs", "name: x\n", "1 : vms is missing here"],
    ["an empty list of VMs", "vms: {}\n", "1 vms: nothing is declared here: add at least one"],
    ["a list instead of a mapping", "vms:\n  - web\n", "2 vms: a list is not a mapping of names to values"],
    ["a text instead of a file", "hello\n", '1 : "hello" is not a mapping of names to values'],
    ["a tab", "vms:\n\tweb: {}\n", "2 : a tab indents this line: use spaces"],
    [
      "a name twice",
      "vms:\n  a: { kernel: embedded }\n  a: { kernel: embedded }\n",
      "3 : this name is there already in the same mapping: remove one of the two",
    ],
    [
      "bad indentation",
      "vms:\n    a:\n      kernel: embedded\n   b:\n",
      "4 : the indentation fits no line above it",
    ],
    [
      "an open quote",
      'vms:\n  a: { kernel: "embedded }\n',
      '3 : something is not closed: missing closing "quote',
    ],
    [
      "two documents",
      `${vm()}\n---\n${vm()}\n`,
      "4 : a second document begins here: a Hyperfile is one document, without ---",
    ],
    [
      "a missing space",
      "vms:\n  a:\n    kernel:embedded\n",
      '3 vms.a: "kernel:embedded" is not a mapping of names to values',
    ],
    ["an unknown field at the top", `${vm()}\nvm: {}\n`, "4 vm: unknown field; did you mean vms?"],
    ["an unknown field of a VM", vm("memroy: 1G"), "4 vms.web.memroy: unknown field; did you mean memory?"],
    [
      "an unknown field of a resource",
      vm("cpu: { share: 5 }"),
      "4 vms.web.cpu.share: unknown field; did you mean shares?",
    ],
    [
      "an unknown field that resembles nothing",
      vm("cpu: { colour: 5 }"),
      "4 vms.web.cpu.colour: unknown field; valid fields: shares, reservation, limit",
    ],
    [
      "an unknown word",
      vm("restart: allways"),
      '4 vms.web.restart: "allways" is unknown; did you mean always?',
    ],
    [
      "an unknown tier",
      vm("tier: fast"),
      '4 vms.web.tier: "fast" is unknown; valid: auto, interpreter, js, wasm-interpreter, wasm',
    ],
    ["an unknown clock", vm("clock: froze"), '4 vms.web.clock: "froze" is unknown; did you mean frozen?'],
    [
      "a size without a unit",
      vm("memory: 256"),
      "4 vms.web.memory: 256 is not a size with its unit, such as 256M, or a mapping with size, shares, reservation and limit",
    ],
    [
      "a size with a wrong unit",
      "host: { memory: 1T }\n" + vm(),
      '1 host.memory: "1T" is not a size with its unit, such as 256M or 1.5G',
    ],
    [
      "too much memory",
      vm("memory: 3G"),
      "4 vms.web.memory: 3G of memory is impossible: a machine can have from 1M to 2G",
    ],
    [
      "broken pages",
      vm("memory: { size: 1025.5K }"),
      "4 vms.web.memory.size: 1025.5K of memory is impossible: memory comes in pages of 4K",
    ],
    ["a mapping without its size", vm("memory: { shares: 5 }"), "4 vms.web.memory: size is missing here"],
    [
      "no shares",
      vm("cpu: { shares: 0 }"),
      "4 vms.web.cpu.shares: 0 is not a whole number from 1 to 1000000, or low (500), normal (1000) or high (2000)",
    ],
    [
      "an unknown word for shares",
      vm("cpu: { shares: lots }"),
      '4 vms.web.cpu.shares: "lots" is not a whole number from 1 to 1000000, or low (500), normal (1000) or high (2000)',
    ],
    [
      "negative cores",
      vm("cpu: { reservation: -1 }"),
      "4 vms.web.cpu.reservation: -1 is not a number of cores, such as 0.5, or a part of one, such as 50%",
    ],
    [
      "a limit of nothing",
      vm("cpu: { limit: 0 }"),
      "4 vms.web.cpu.limit: a limit of 0 would let it have nothing: give more",
    ],
    [
      "a reservation above the limit",
      vm("cpu: { reservation: 80%, limit: 50% }"),
      "4 vms.web.cpu.reservation: a reservation of 80% is above the limit of 50%",
    ],
    [
      "a reservation above the VM's memory",
      vm("memory: { size: 64M, reservation: 128M }"),
      "4 vms.web.memory.reservation: a reservation of 128M is more than the VM's memory of 64M",
    ],
    [
      "more reserved than there is",
      vm("cpu: { reservation: 5 }"),
      "4 vms.web.cpu.reservation: VM web can't be admitted: a reservation of 5 cores is needed in pool root, which has 4 left, and the host has 4 cores; lower a reservation or stop a VM",
    ],
    [
      "pools that reserve more than there is",
      `pools:\n  a: { cpu: { reservation: 3 } }\n  b: { cpu: { reservation: 2 } }\n${vm()}`,
      "3 pools.b.cpu.reservation: pool b can't be admitted: a reservation of 2 cores is needed in pool root, which has 1 left, and the host has 4 cores; lower a reservation or stop a VM",
    ],
    [
      "an unknown pool",
      `pools:\n  production:\n${vm("pool: prodution")}`,
      "6 vms.web.pool: there is no pool prodution; did you mean production?",
    ],
    [
      "an unknown parent",
      `pools:\n  a: { pool: bee }\n${vm()}`,
      "2 pools.a.pool: there is no pool bee; pools: root, a",
    ],
    [
      "pools inside each other",
      `pools:\n  a: { pool: b }\n  b: { pool: a }\n${vm()}`,
      "2 pools.a.pool: a is inside itself: a -> b -> a",
    ],
    [
      "a pool named as the host",
      `pools:\n  root: {}\n${vm()}`,
      "2 pools.root: this name stands for the whole host: choose another",
    ],
    ["an unknown VM before", vm("after: wbe"), "4 vms.web.after: there is no VM wbe; did you mean web?"],
    [
      "an unknown VM in a list",
      vm("after: [web2]", "", "") + "\n  web2: { kernel: embedded, after: [nothing] }",
      "7 vms.web2.after[0]: there is no VM nothing; VMs: web, web2",
    ],
    [
      "VMs that wait for each other",
      "vms:\n  a: { kernel: embedded, after: b }\n  b: { kernel: embedded, after: a }\n",
      "2 vms.a.after: a starts after itself: a -> b -> a",
    ],
    [
      "nothing to boot",
      "vms:\n  web:\n    memory: 64M\n",
      "3 vms.web: nothing to boot: give kernel (embedded, debian, a name or a file) or program",
    ],
    [
      "kernel and program",
      vm("program: ./a.elf"),
      "3 vms.web.kernel: program is given too: a bare-metal program takes none of these",
    ],
    [
      "an initrd without a kernel",
      "vms:\n  web:\n    initrd: x\n",
      "3 vms.web: nothing to boot: give kernel (embedded, debian, a name or a file) or program",
      "3 vms.web.initrd: it needs a kernel",
    ],
    [
      "an unknown kernel",
      "vms:\n  web: { kernel: debain }\n",
      "2 vms.web.kernel: there is no kernel debain; did you mean debian? (a file has a slash in its name)",
    ],
    [
      "a kernel without its file",
      `kernels:\n  own: { append: x }\n${vm()}`,
      "2 kernels.own: file is missing here",
    ],
    [
      "an unknown image",
      `images:\n  root: { file: r }\n${vm("disks: [rot]")}`,
      "6 vms.web.disks[0]: there is no image rot; did you mean root? (a file has a slash in its name, or is given by file)",
    ],
    [
      "an image that two write to",
      `images:\n  root: { file: r }\n${vm("disks: [root]")}\n  b: { kernel: embedded, disks: [root] }`,
      `7 vms.b.disks[0]: web writes to r too: ${alone}`,
    ],
    [
      "a file that two write to, by two names",
      `${vm("disks: [./r]")}\n  b: { kernel: embedded, disks: [{ file: x/../r }] }`,
      `5 vms.b.disks[0]: web writes to x/../r too: ${alone}`,
    ],
    [
      "a file that one VM writes to twice",
      vm("disks: [./r, { file: r }]"),
      `4 vms.web.disks[1]: web writes to r too: ${alone}`,
    ],
    [
      "a file that is read while another writes it",
      `${vm("disks: [./r]")}\n  b: { kernel: embedded, disks: [{ file: r, readonly: true }] }`,
      `5 vms.b.disks[0]: web writes to r, which is read here: ${alone}`,
    ],
    [
      "a file that is written while another reads it",
      `${vm("disks: [{ file: r, ephemeral: true }]")}\n  b: { kernel: embedded, disks: [./r] }`,
      `5 vms.b.disks[0]: web reads ./r, which would change: ${alone}`,
    ],
    [
      "an ephemeral disk that nobody may write to",
      `images:\n  root: { file: r }\n${vm("disks: [{ image: root, readonly: true, ephemeral: true }]")}`,
      "6 vms.web.disks[0]: readonly and ephemeral don't go together: an ephemeral disk is written, and forgets it",
    ],
    ["a disk of nothing", vm("disks: [{ readonly: true }]"), `4 vms.web.disks[0]: which disk? ${which}`],
    [
      "a disk of two things",
      `images:\n  root: { file: r }\n${vm("disks: [{ image: root, file: r }]")}`,
      "6 vms.web.disks[0]: image and file are both given: give one",
    ],
    [
      "a size without a file",
      `images:\n  root: { file: r }\n${vm("disks: [{ image: root, size: 1G }]")}`,
      "6 vms.web.disks[0].size: size is for a file that is made: give it with file, or to image root",
    ],
    ["a folder without a tag", vm("shares: [{ folder: src }]"), "4 vms.web.shares[0]: tag is missing here"],
    [
      "a tag that is none",
      vm("shares: [{ folder: src, tag: a/b }]"),
      '4 vms.web.shares[0].tag: "a/b" is not a tag of 1 to 36 letters, digits, dots, underscores and dashes, the first no dot or dash',
    ],
    [
      "a tag twice",
      vm("shares: [{ folder: src, tag: a }, { folder: other, tag: a }]"),
      "4 vms.web.shares[1].tag: another folder has the tag a: give each its own",
    ],
    [
      "a folder that is none",
      vm("shares: [src]"),
      '4 vms.web.shares[0]: "src" is not a mapping with folder and tag',
    ],
    [
      "more disks and folders than slots",
      vm("disks: [./a, ./b, ./c, ./d]", "shares: [{ folder: e, tag: e }, { folder: f, tag: f }]"),
      "5 vms.web.shares: 6 disks and folders: a VM takes 5 together",
    ],
    ["a size and nothing else", vm("disks: [{ size: 1G }]"), `4 vms.web.disks[0]: which disk? ${which}`],
    [
      "a size that no disk has",
      vm("disks: [{ file: r, format: raw, size: 0.25K }]"),
      "4 vms.web.disks[0].size: 0.25K is impossible for a disk: give whole sectors of 512 bytes, up to 1048576G",
    ],
    [
      "a size without a format",
      vm("disks: [{ file: r, size: 1G }]"),
      "4 vms.web.disks[0].size: in which format is it made? Give format: raw, qcow2 or store",
    ],
    [
      "a size of what is not written",
      vm("disks: [{ file: r, format: raw, size: 1G, ephemeral: true }]"),
      "4 vms.web.disks[0]: size is for a disk that is made to be written: leave it out, or ephemeral",
    ],
    [
      "a web server that is written to",
      vm('disks: ["https://example.org/a.qcow2"]'),
      "4 vms.web.disks[0]: https://example.org/a.qcow2 lies behind a web server, and is only read: add readonly, or ephemeral",
    ],
    [
      "too many disks",
      vm(`disks: [${Array.from({ length: 6 }, (_, at) => `./d${at}`).join(", ")}]`),
      "4 vms.web.disks: a list is not a list of at most 5 disks",
    ],
    [
      "a disk with a field that there is not",
      vm("disks: [{ file: r, snapshto: true }]"),
      "4 vms.web.disks[0].snapshto: unknown field; valid fields: image, file, format, readonly, ephemeral, cache, serial, size",
    ],
    [
      "a cache that there is not",
      vm("disks: [{ file: r, cache: none }]"),
      '4 vms.web.disks[0].cache: "none" is unknown; valid: writeback, writethrough, unsafe',
    ],
    [
      "a serial that is too long",
      vm(`disks: [{ file: r, serial: ${"x".repeat(21)} }]`),
      `4 vms.web.disks[0].serial: "${"x".repeat(21)}" is not 1 to 20 ASCII characters`,
    ],
    [
      "an unknown image format",
      `images:\n  root: { file: r, format: qcow }\n${vm()}`,
      '2 images.root.format: "qcow" is unknown; did you mean qcow2?',
    ],
    [
      "a bad name",
      "vms:\n  Web_1: { kernel: embedded }\n",
      "2 vms.Web_1: the name is not a name of lower-case letters, digits and hyphens that starts with a letter, of at most 63",
    ],
    [
      "a disposable VM that restarts",
      vm("disposable: true", "restart: always"),
      "5 vms.web.restart: a disposable VM is gone when it stops: leave restart out, or disposable",
    ],
    [
      "VMs of one group on different engines",
      "vms:\n  a: { kernel: embedded, group: g }\n  b: { kernel: embedded, group: g, tier: js }\n",
      "3 vms.b.group: b and a differ in tier: VMs of one group run on one engine",
    ],
    [
      "provisioning without a shell",
      "vms:\n  p: { program: ./a.elf, provision: [x] }\n",
      "2 vms.p.provision: a bare-metal program has no shell that could run commands",
    ],
    [
      "a provisioning step without a command",
      vm("provision: [{ timeout: 5s }]"),
      "4 vms.web.provision[0]: run is missing here",
    ],
    [
      "a time without a unit",
      vm("time: 30"),
      "4 vms.web.time: 30 is not a time with its unit, such as 10ms, 30s or 5m",
    ],
    [
      "a status out of range",
      vm("provision: [{ run: x, status: 256 }]"),
      "4 vms.web.provision[0].status: 256 is not a whole number from 0 to 255",
    ],
    ["text for truth", vm("autostart: sometimes"), '4 vms.web.autostart: "sometimes" is not true or false'],
    [
      "a console of no width",
      vm("console: { columns: 0 }"),
      "4 vms.web.console.columns: 0 is not a whole number from 1 to 1000",
    ],
    ["no cores", `host: { cores: 0 }\n${vm()}`, "1 host.cores: 0 is not a whole number from 1 to 1024"],
    [
      "an alias of no anchor",
      "vms:\n  a: &base { kernel: embedded }\n  b: *bse\n",
      "3 : there is no anchor &bse before this; did you mean base?",
    ],
    [
      "an alias before its anchor",
      "vms:\n  a: *base\n  b: &base { kernel: embedded }\n",
      "2 : there is no anchor &base before this; there are no anchors",
    ],
    [
      "a merge of no mapping",
      "vms:\n  a: { kernel: embedded, <<: 5 }\n",
      "2 : only a mapping can be merged: name an anchor, such as *base",
    ],
    [
      "an open brace",
      "vms:\n  a: { kernel: embedded\n",
      "3 : a brace or bracket above is not closed, or its end is not indented",
    ],
    [
      "a colon in a text without quotes",
      vm("append: a: b"),
      "4 : this is no name and value: check for a missing space after a colon, and the indentation",
    ],
    ["a VM that says nothing", "vms:\n  web:\n", "2 vms.web: nothing is not a mapping of names to values"],
    [
      "a number in place of shares, reservation and limit",
      vm("cpu: 2"),
      "4 vms.web.cpu: 2 is not a mapping of names to values",
    ],
    ["a text in place of a list", vm("provision: make"), '4 vms.web.provision: "make" is not a list'],
    [
      "a size with a space",
      vm("memory: 256 M"),
      '4 vms.web.memory: "256 M" is not a size with its unit, such as 256M, or a mapping with size, shares, reservation and limit',
    ],
    [
      "a part with a space",
      vm("cpu: { limit: 150 % }"),
      '4 vms.web.cpu.limit: "150 %" is not a number of cores, such as 0.5, or a part of one, such as 50%',
    ],
    [
      "a field of pools at a VM",
      vm("cpu: { expandable: true }"),
      "4 vms.web.cpu.expandable: unknown field; valid fields: shares, reservation, limit",
    ],
    ["an unknown isa", vm("isa: rv64"), '4 vms.web.isa: "rv64" is unknown; did you mean rv64gc?'],
    ["an unknown shell", vm("shell: bash"), '4 vms.web.shell: "bash" is unknown; valid: posix, embedded'],
    [
      "a file of no name",
      vm("initrd: ''"),
      "4 vms.web.initrd: an empty text is not a text of at least one character",
    ],
    [
      "an image where there are none",
      vm("disks: [root]"),
      "4 vms.web.disks[0]: there is no image root; there are no images (a file has a slash in its name, or is given by file)",
    ],
    ["a VM after itself", vm("after: web"), "4 vms.web.after: web starts after itself: web -> web"],
    [
      "a circle of three",
      "vms:\n  a: { kernel: embedded, after: b }\n  b: { kernel: embedded, after: [c] }\n  c: { kernel: embedded, after: a }\n",
      "2 vms.a.after: a starts after itself: a -> b -> c -> a",
    ],
    [
      "more memory reserved than there is",
      `${vm("memory: { size: 1G, reservation: 1G }")}\n  b: { kernel: embedded, memory: { size: 2G, reservation: 1.5G } }`,
      "5 vms.b.memory.reservation: VM b can't be admitted: a reservation of 1.5G is needed in pool root, which has 1G left, and the host has 2G; lower a reservation or stop a VM",
    ],
    [
      "a pool that may not borrow",
      `pools:\n  a: { cpu: { reservation: 1, expandable: false } }\n${vm("pool: a", "cpu: { reservation: 1.5 }")}`,
      "7 vms.web.cpu.reservation: VM web can't be admitted: a reservation of 1.5 cores is needed in pool a, which has 1 left, and it can't borrow; lower a reservation or stop a VM",
    ],
    [
      "a pool's reservation above its limit",
      `pools:\n  a: { memory: { reservation: 1G, limit: 512M } }\n${vm()}`,
      "2 pools.a.memory.reservation: a reservation of 1G is above the limit of 512M",
    ],
    [
      "aliases that multiply without end",
      ["a", "b", "c", "d", "e", "f"]
        .map(
          (name, at, all) =>
            `${name}: &${name} [${at === 0 ? "x" : `*${all[at - 1]}`}${`, ${at === 0 ? "x" : `*${all[at - 1]}`}`.repeat(9)}]\n`,
        )
        .join(""),
      "5 : the file has more than 100000 values up to here, counting what aliases stand for: divide it",
    ],
    [
      "an alias inside its own anchor",
      "vms:\n  a: &a { kernel: embedded, cpu: *a }\n",
      "2 : *a stands inside its own anchor",
    ],
    [
      "a name that is no text",
      "vms:\n  [a]: { kernel: embedded }\n  ? { b: c }\n  : {}\n",
      "2 : a name is a text: this is a list, a mapping or an alias",
      "3 : a name is a text: this is a list, a mapping or an alias",
    ],
    ["a bracket that closes none", "vms: ]\n", "1 : this bracket or brace closes none: remove it"],
    [
      "brackets without end",
      `vms: ${"[".repeat(1e6)}`,
      "1 : more than 32 mappings and lists are in each other here",
    ],
    [
      "lists without end",
      `vms: \n ${"- ".repeat(5e5)}`,
      "2 : more than 32 mappings and lists are in each other here",
    ],
    [
      "lines further and further in",
      Array.from({ length: 1000 }, (_, depth) => `${" ".repeat(depth)}a:\n`).join(""),
      "33 : more than 32 mappings and lists are in each other here",
    ],
    [
      "more than a megabyte",
      `# ${"x".repeat(2 ** 20)}`,
      "1 : the file has 1048578 characters: at most 1048576 are read",
    ],
    [
      "a time of nothing",
      vm("time: 0s"),
      "4 vms.web.time: a time of 0s is impossible: give from 1ms to 87600h, or leave it out",
    ],
    [
      "a time without end",
      vm(`time: ${"9".repeat(400)}h`),
      `4 vms.web.time: a time of ${"9".repeat(60)}… is impossible: give from 1ms to 87600h, or leave it out`,
    ],
    [
      "no time for a command",
      vm("provision: [x, { run: y, timeout: 0.5ms }]"),
      "4 vms.web.provision[1].timeout: a time of 0.5ms is impossible: give from 1ms to 87600h, or leave it out",
    ],
    [
      "a log of nothing",
      vm("console: { log: 0K }"),
      "4 vms.web.console.log: 0K is impossible here: give from 4K to 1048576G",
    ],
    [
      "memory of nothing",
      vm("memory: 0K"),
      "4 vms.web.memory: 0K of memory is impossible: a machine can have from 1M to 2G",
    ],
    [
      "a host of nothing",
      `host: { memory: 0K }\n${vm()}`,
      "1 host.memory: 0K is impossible here: give from 1M to 1048576G",
    ],
    [
      "a limit of no memory",
      vm("memory: { size: 64M, limit: 0K }"),
      "4 vms.web.memory.limit: a limit of 0K would let it have nothing: give more",
    ],
    [
      "a reservation without end",
      `pools:\n  a: { memory: { reservation: ${"9".repeat(400)}G } }\n${vm()}`,
      `2 pools.a.memory.reservation: a reservation of ${"9".repeat(60)}… is more than there can be: give less`,
    ],
    [
      "cores without end",
      vm("cpu: { reservation: .inf }"),
      "4 vms.web.cpu.reservation: Infinity is not a number of cores, such as 0.5, or a part of one, such as 50%",
    ],
    ...["constructor", "__proto__", "toString", "hasOwnProperty"].map((name): [string, string, string] => [
      `${name} as a kernel`,
      vm().replace("embedded", name),
      `3 vms.web.kernel: there is no kernel ${name}; kernels: embedded, debian (a file has a slash in its name)`,
    ]),
    [
      "names of JavaScript as names of everything",
      "pools: { constructor: {} }\nimages: { constructor: { file: x } }\nkernels: { constructor: { file: x } }\nvms: { constructor: { kernel: embedded, group: constructor } }\n",
      "1 pools.constructor: this name has a meaning in JavaScript: choose another",
      "2 images.constructor: this name has a meaning in JavaScript: choose another",
      "3 kernels.constructor: this name has a meaning in JavaScript: choose another",
      "4 vms.constructor: this name has a meaning in JavaScript: choose another",
      "4 vms.constructor.group: this name has a meaning in JavaScript: choose another",
    ],
    [
      "names of JavaScript as references",
      vm("pool: constructor", "after: __proto__", "disks: [constructor]"),
      "5 vms.web.after: there is no VM __proto__; VMs: web",
      "4 vms.web.pool: there is no pool constructor; pools: root",
      "6 vms.web.disks[0]: there is no image constructor; there are no images (a file has a slash in its name, or is given by file)",
    ],
    [
      "names of JavaScript as fields",
      `${vm("constructor: 1", "__proto__: { kernel: embedded }", "cpu: { __proto__: { shares: 5 } }")}\n__proto__: { vms: 1 }\n`,
      "7 __proto__: unknown field; valid fields: name, host, pools, images, networks, kernels, vms",
      "4 vms.web.constructor: unknown field; valid fields: kernel, program, firmware, initrd, append, isa, memory, cpu, disk, net, pool, console and 16 more",
      "5 vms.web.__proto__: unknown field; valid fields: kernel, program, firmware, initrd, append, isa, memory, cpu, disk, net, pool, console and 16 more",
      "6 vms.web.cpu.__proto__: unknown field; valid fields: shares, reservation, limit",
    ],
    [
      "a merge of names of JavaScript",
      "vms:\n  web: { kernel: embedded, <<: { __proto__: { memory: 1G } } }\n",
      "2 vms.web.__proto__: unknown field; valid fields: kernel, program, firmware, initrd, append, isa, memory, cpu, disk, net, pool, console and 16 more",
    ],
  ];
  it.each(cases)("%s", async (_what, text, ...expected) => {
    expect(await complaints(text)).toEqual(expected);
  });

  it("are all reported, with the file, line and column of the first in the error's message", async () => {
    const text = vm("memroy: 1G", "restart: x", "cpu: { shares: 0 }");
    expect(await complaints(text)).toHaveLength(3);
    await expect(read(text)).rejects.toThrow(
      /^fleet\.yaml:4:5: vms\.web\.memroy: unknown field; did you mean memory\? \(and 2 more\)$/,
    );
  });
});

/** Files that look for work: each of about a megabyte or as many names as may be, on the thread that reads it. */
describe("a file made to cost time", () => {
  const lines = (count: number, line: (at: number) => string) =>
    Array.from({ length: count }, (_, at) => line(at)).join("");
  const vms = (count: number, fields: (at: number) => string) =>
    `vms:\n${lines(count, (at) => `  v${at}: { kernel: embedded, ${fields(at)} }\n`)}`;
  it.each<[string, string, number | RegExp]>([
    ["one name again and again", "a: 1\n".repeat(20_000), /already .* \(and 19998 more\)/],
    ["a megabyte of one name", "a: 1\n".repeat(209_715), /too many names and values/],
    [
      "1,500 aliases of no anchor",
      `x: &anchor 1\n${lines(1500, (at) => `k${at}: *anchr\n`)}`,
      /mean anchor\? \(and 1499 more\)/,
    ],
    [
      "2,000 nested pools",
      `pools:\n${lines(2000, (at) => `  p${at}: { pool: ${at === 0 ? "root" : `p${at - 1}`}, cpu: { reservation: 1 } }\n`)}${vm()}`,
      /pools.p64.pool: it would be in 64 other pools/,
    ],
    [
      "2,000 pools beside each other",
      `pools:\n${lines(2000, (at) => `  p${at}: { cpu: { reservation: 0.001 } }\n`)}${vm()}`,
      1,
    ],
    ["3,000 VMs", vms(3000, () => "autostart: false"), 3000],
    [
      "3,000 VMs in a row",
      vms(3000, (at) =>
        `after: v${Math.max(0, at - 1)}x`.replace(at === 0 ? /.*/ : "x", at === 0 ? "memory: 1M" : ""),
      ),
      3000,
    ],
    [
      "3,000 VMs in a circle",
      vms(3000, (at) => `after: v${(at + 1) % 3000}`),
      /starts after itself: v0 -> v1 -> .* -> \.\.\. -> v0/,
    ],
    [
      "3,000 VMs after what there isn't",
      vms(3000, (at) => `after: w${at}`),
      /there is no VM w0; did you mean v0\? \(and 2999 more\)/,
    ],
    [
      "3,000 merges of one mapping",
      `vms:\n  v: &v { kernel: embedded }\n${lines(3000, (at) => `  v${at}: { <<: *v }\n`)}`,
      3001,
    ],
    [
      "a merge of much into much",
      `a: &a {${lines(3000, (at) => ` k${at}: 1,`)} }\n${lines(3000, (at) => `b${at}: { <<: *a }\n`)}`,
      /counting what aliases stand for/,
    ],
    [
      "fields that there aren't",
      `vms: { v: { kernel: embedded, ${lines(15_000, (at) => `f${at}: 1, `)} } }`,
      /\(and 14999 more\)/,
    ],
    ["brackets that close nothing", "]".repeat(1e6), /closes none/],
    ["commas in a list", `vms: [${",".repeat(1e5)}]`, /./],
    ["tabs", "\ta: 1\n".repeat(15_000), /a tab indents/],
    [
      "a long word",
      `vms: { v: { kernel: ${"x".repeat(9e5)} } }`,
      /there is no kernel x{60}…; kernels: embedded, debian/,
    ],
    ["documents", "---\n".repeat(50_000), /./],
  ])("%s", { timeout: 30_000 }, async (_, text, expected) => {
    const reading = readHyperfile(text, "fleet.yaml", { ...host, cores: 1e6, memoryBytes: 2 ** 50 });
    if (typeof expected === "number") expect((await reading).vms).toHaveLength(expected);
    else {
      const error = (await reading.catch((one: unknown) => one)) as HyperfileError;
      expect(error.message).toMatch(expected);
      expect(error.problems.length).toBeLessThanOrEqual(51);
      for (const { message, field } of error.problems)
        expect(message.length + field.length).toBeLessThan(1000);
    }
  });

  it("has its mistakes counted beyond those that are told", async () => {
    const error = (await read("a: 1\n".repeat(1000)).catch((one: unknown) => one)) as HyperfileError;
    expect(error.problems).toHaveLength(51);
    expect(error.problems.at(-1)).toMatchObject({ field: "", message: "and 949 more: mend these first" });
  });
});

it("mistakes do nothing to a terminal", async () => {
  const [complaint] = await complaints('vms: { "\\e[2J\\n": { kernel: embedded } }\n');
  expect(complaint).toMatch(/^1 vms\.\\x1b\[2J\\x0a: the name is not a name/);
});

it("a VM's devices have as long for requests in flight as the file says, or its machine", async () => {
  const { vms } = await read("vms: { a: { kernel: embedded }, b: { kernel: embedded, drain: 30s } }\n");
  expect(vms.map(({ drainMs }) => drainMs)).toEqual([undefined, 30_000]);
  expect(await complaints("vms: { a: { kernel: embedded, drain: soon } }\n")).toEqual([
    '1 vms.a.drain: "soon" is not a time with its unit, such as 10ms, 30s or 5m',
  ]);
});

it("a VM's clock makes up for pauses unless the file says otherwise", async () => {
  const { vms } = await read("vms: { a: { kernel: embedded }, b: { kernel: embedded, clock: frozen } }\n");
  expect(vms.map(({ clock }) => clock)).toEqual(["host", "frozen"]);
});

describe("the schema", () => {
  it("that is published knows no guest, and a program's is it with the program's names in the marked places", () => {
    const text = readFileSync(new URL("../../hyperfile.schema.json", import.meta.url), "utf8");
    const names = [
      ...guestKinds.isas,
      ...Object.keys(guestKinds.shells),
      ...Object.keys(guestKinds.kernels),
      "rv64",
      "linux",
    ];
    for (const name of names) expect(text.toLowerCase()).not.toMatch(new RegExp(`\\b${name}\\b`));
    expect(text.match(/x-names/g)).toHaveLength(5);
    const { $schema, definitions } = hyperfileSchema(guestKinds) as {
      $schema: string;
      definitions: Record<string, { properties: Record<string, Record<string, unknown>> }>;
    };
    expect($schema).toContain("draft-07");
    expect(JSON.stringify(definitions)).not.toContain("x-names");
    const { kernel, isa, shell } = definitions.vm!.properties;
    expect([definitions.kernel!.properties.isa, isa]).toEqual([
      { enum: ["rv64gc", "rv32gc"] },
      { enum: ["rv64gc", "rv32gc"] },
    ]);
    expect(shell!.enum).toEqual(["posix", "embedded"]);
    expect(kernel).toMatchObject({ type: "string", examples: ["embedded", "debian"] });
  });
});

describe("suggestions", () => {
  it.each([
    ["memroy", "memory"],
    ["mem", "memory"],
    ["CPU", "cpu"],
    ["rservation", "reservation"],
    ["zebra", undefined],
  ])("for %s", (word, expected) => {
    expect(nearest(word, ["memory", "cpu", "reservation"])).toBe(expected);
  });
});

describe("a program's own guests", () => {
  const own = { ...guestKinds.shells.posix, shutdown: "halt now" };
  const guests = {
    isas: ["mos6502", "z80"],
    kernels: { tiny: { shell: "own" } },
    shells: { own },
    usualShell: "own",
  };
  const of = (text: string, kinds: GuestKinds = guests) =>
    readHyperfile(text, "fleet.yaml", { ...host, guests: kinds });

  it("can be named in a Hyperfile", async () => {
    const { vms } = await of(
      "kernels: { mine: { file: ./Mine, isa: z80, shell: own } }\nvms: { web: { kernel: tiny, isa: mos6502, shell: own }, file: { kernel: ./Image }, named: { kernel: mine } }",
    );
    expect(vms.map(({ isa, shell, shutdown }) => [isa, shell, shutdown])).toEqual([
      ["mos6502", "own", "halt now"],
      [undefined, "own", "halt now"],
      ["z80", "own", "halt now"],
    ]);
    expect(vms[0]!.boot.kernel).toEqual({ builtin: "tiny" });
  });

  it.each([
    ["vms: { web: { kernel: debian } }", "vms.web.kernel", /^there is no kernel debian; .*tiny/],
    ["vms: { web: { kernel: tiny, shell: posix } }", "vms.web.shell", /^"posix" is unknown; valid: own$/],
    [
      "vms: { web: { kernel: tiny, isa: rv64gc } }",
      "vms.web.isa",
      /^"rv64gc" is unknown; valid: mos6502, z80$/,
    ],
    ["vms: { web: { kernel: tiny, isa: z90 } }", "vms.web.isa", /^"z90" is unknown; did you mean z80\?$/],
    [
      "kernels: { mine: { file: ./Mine, shell: embedded } }\nvms: { web: { kernel: mine } }",
      "kernels.mine.shell",
      /^"embedded" is unknown; valid: own$/,
    ],
    ["vms: { web: { kernel: tiny, isa: 6502 } }", "vms.web.isa", /^6502 is unknown; .*mos6502/],
  ])("are listed where others are named: %s", async (text, field, message) => {
    await expect(of(text)).rejects.toMatchObject({
      problems: [{ field, message: expect.stringMatching(message) }],
    });
  });

  it("come to shells that the program has", async () => {
    const kernels = { tiny: { shell: "other" } };
    await expect(of("vms: { web: { kernel: tiny } }", { ...guests, kernels })).rejects.toMatchObject({
      problems: [{ message: "its shell is other, which this program has not; shells: own" }],
    });
  });

  it("leave a field out for which there is nothing to choose", async () => {
    await expect(
      of("vms: { web: { kernel: tiny, isa: z80 } }", { ...guests, isas: [] }),
    ).rejects.toMatchObject({
      problems: [{ field: "vms.web.isa", message: expect.stringMatching(/^unknown field; valid fields: /) }],
    });
  });
});
