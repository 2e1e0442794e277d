import { createHash, createPublicKey, verify } from "node:crypto";
import { readInitramfs } from "@hyperfile/devices/image";
import { describe, expect, it } from "vitest";
import { iterationsOf } from "../suite.js";
import { makeInputs, mergedPath, packageEntries, workArchive } from "./guest.js";
import { initScript, workloadScripts } from "./init-script.js";
import { ConsoleReader, type ConsoleRun } from "./markers.js";
import { workloadFailures, workloadTable } from "./report.js";
import { engineCommand, problemOf, type WorkloadResult } from "./run.js";
import { sampleText } from "./sample-text.js";
import { linuxProgramWork, selectWorkloads, workloads } from "./workloads.js";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const inputs = makeInputs();

describe("the sample text", () => {
  it("is the same everywhere, of the length that is asked for", () => {
    const text = sampleText(100_000);
    expect(text).toHaveLength(100_000);
    expect(sha256(text)).toBe("ba9ee2383b72a825a830a962fb22f07788d65502c6c78db0fdef6884e3fc7311");
    expect(sampleText(1000)).toEqual(text.subarray(0, 1000));
    expect(text.every((byte) => byte === 10 || byte === 32 || (byte >= 97 && byte <= 122))).toBe(true);
  });
});

describe("the work", () => {
  it("has names of its own, without what the shell or the console's lines would take apart", () => {
    const names = workloads.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z0-9-]+$/);
  });

  it("is chosen by name; long work only so", () => {
    expect(selectWorkloads(undefined).map(({ name }) => name)).not.toContain("7zip-bench");
    expect(selectWorkloads("lua, 7zip-bench").map(({ name }) => name)).toEqual(["lua", "7zip-bench"]);
    expect(() => selectWorkloads("perl")).toThrow(/no Debian program perl; there are 7zip,/);
  });

  it("has results that Node's own cryptography finds", () => {
    const result = (name: string) => workloads.find((workload) => workload.name === name)!.expected(inputs);
    expect(result("xz")).toEqual([sha256(inputs.text)]);
    expect(result("openssl-cipher")[2]).toBe(sha256(inputs.text));
    expect(result("openssl-rsa")[0]).toMatch(/^\d+ Verified OK$/);
    const signature = Buffer.alloc(384);
    expect(verify("sha256", inputs.message, createPublicKey(inputs.privateKey), signature)).toBe(false);
  });

  it("counts words and rows as it should", () => {
    const words = (rounds: number): string => {
      const counts = new Map<string, number>();
      let seed = 12345n;
      for (let round = 0; round < rounds; round++) {
        seed = (seed * 1103515245n + 12345n) & 0x7fffffffn;
        const word = `w${String((seed >> 8n) % 500n).padStart(3, "0")}`;
        counts.set(word, (counts.get(word) ?? 0) + 1);
      }
      const text = [...counts]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, count]) => `${name}=${count}`);
      const sum = [...text.join(",")].reduce((total, letter) => (total * 31 + letter.charCodeAt(0)) >>> 0, 0);
      return `words ${counts.size} ${sum.toString(16).padStart(8, "0")}`;
    };
    const result = (name: string) => workloads.find((workload) => workload.name === name)!.expected(inputs);
    expect(result("lua")).toContain(words(150_000));
    expect(result("python")).toContain(words(60_000));
    const rows = Array.from({ length: 50_000 }, (_, index) => index + 1);
    const price = (n: number) => (n * 7919) % 10007;
    const sum = (of: (n: number) => number) => rows.reduce((total, n) => total + of(n), 0);
    expect(result("sqlite3")).toContain(`rows|50000|${sum(price)}`);
    expect(result("sqlite3")).toContain(`join|${sum((n) => price(n) * ((n % 97) ** 2 + 1))}`);
    expect(result("sqlite3")).toContain(`updated|${sum((n) => price(n) + (n % 3 === 0 ? 1 : 0))}`);
  });
});

describe("the guest", () => {
  it("has packages merged below /usr, each folder before what it holds", () => {
    expect(["lib/x/libc.so.6", "bin/gzip", "usr/bin/xz", "etc/ssl/"].map(mergedPath)).toEqual([
      "usr/lib/x/libc.so.6",
      "usr/bin/gzip",
      "usr/bin/xz",
      "etc/ssl",
    ]);
    const bytes = new Uint8Array([1]);
    const entries = packageEntries([
      {
        files: [{ path: "lib/a/b.so.1", mode: 0o4755, bytes }],
        links: [{ path: "lib/a/b.so", target: "b.so.1" }],
      },
      {
        files: [{ path: "usr/lib/a/b.so.1", mode: 0o644, bytes }],
        links: [{ path: "usr/lib/a", target: "c" }],
      },
    ]);
    const paths = entries.map(({ path }) => path);
    expect(new Set(paths).size).toBe(paths.length);
    for (const path of paths) {
      const folder = path.slice(0, Math.max(0, path.lastIndexOf("/")));
      if (folder !== "") expect(paths.indexOf(folder)).toBeLessThan(paths.indexOf(path));
    }
    expect(entries).toContainEqual({ path: "lib", kind: "symlink", target: "usr/lib" });
    expect(entries).toContainEqual({ path: "usr/lib/a/b.so", kind: "symlink", target: "b.so.1" });
    expect(entries).toContainEqual({ path: "usr/lib/a/b.so.1", kind: "file", mode: 0o644, bytes });
    expect(entries.find(({ path }) => path === "usr/lib/a")?.kind).toBe("directory");
  });

  it("has a script and a result for all work, and the inputs", async () => {
    const { entries } = readInitramfs(await workArchive(inputs), "work.cpio");
    const bytesOf = (path: string) => {
      const entry = entries.find((candidate) => candidate.path === path);
      return entry?.kind === "file" ? entry.bytes : undefined;
    };
    for (const workload of workloads)
      for (const [path, content] of workloadScripts(workload))
        expect(Buffer.from(bytesOf(path)!).toString()).toBe(content);
    expect(Buffer.from(bytesOf("init")!).toString()).toBe(initScript);
    expect(sha256(bytesOf("bench/text")!)).toBe(sha256(inputs.text));
    const { name, iterations } = linuxProgramWork;
    expect(iterationsOf(new Uint8Array(bytesOf(`bench/${name}`)!), name)).toBe(iterations);
  });
});

describe("the console", () => {
  const lines = [
    "[    0.1] Linux\r",
    "hyperfile-bench: begin lua 2.50 \r",
    "hyperfile-bench: end lua 6.75 0\r",
    "hyperfile-bench: result lua queens 92\r",
    "hyperfile-bench: result lua \r",
    "hyperfile-bench: end other 7.00 0\r",
    "[ 7.1] noise hyperfile-bench: done all 8.00\r",
    "",
  ].join("\n");

  it.each([1, 7, 1000])("is read in pieces of %i characters", (size) => {
    let now = 0;
    const reader = new ConsoleReader(() => ({ wall: (now += 3), cpu: now / 2 }));
    for (let at = 0; at < lines.length; at += size) {
      expect(reader.done).toBe(false);
      reader.write(lines.slice(at, at + size));
    }
    expect(reader.done).toBe(true);
    expect(reader.runs).toEqual([
      {
        name: "lua",
        seconds: 3,
        guestSeconds: 4.25,
        cpuSeconds: 1.5,
        status: 0,
        result: ["queens 92", ""],
      },
    ]);
  });
});

describe("the report", () => {
  const run = (seconds: number, result: string[] = ["ok"], status = 0): ConsoleRun => ({
    name: "lua",
    seconds,
    guestSeconds: seconds,
    cpuSeconds: seconds,
    status,
    result,
  });
  const engine = (name: string, seconds: number, failure?: string) => ({
    engine: name,
    runs: [run(seconds)],
    seconds,
    cpuSeconds: seconds,
    failure,
  });
  const results: WorkloadResult[] = [
    { workload: workloads[0]!, engines: [engine("qemu", 2), engine("auto", 4)] },
    { workload: workloads[2]!, engines: [engine("qemu", 8), engine("auto", 1, "printed nothing")] },
  ];

  it("compares the tiers with QEMU", () => {
    const rows = workloadTable(results)
      .split("\n")
      .map((line) => line.split(/ {2,}/));
    expect(rows[0]).toEqual(["Debian", "qemu s", "auto s", "auto/qemu", "by CPU", "output"]);
    expect(rows[1]).toEqual(["7zip", "2.00", "4.00", "0.50", "0.50", "right"]);
    expect(rows[2]).toEqual(["xz", "8.00", "1.00", "8.00", "8.00", "WRONG"]);
    expect(rows[3]).toEqual(["geometric mean", "2.00", "2.00"]);
    expect(rows[4]).toEqual(["least", "0.50", "0.50"]);
    expect(workloadFailures(results)).toEqual(["xz under auto: printed nothing"]);
  });

  it("tells wrong results from right ones", () => {
    expect(problemOf(run(1), ["ok"])).toBeUndefined();
    expect(problemOf(run(1, ["no"]), ["ok"])).toBe('printed "no", not "ok"');
    expect(problemOf(run(1, ["lua5.4: not found"], 127), ["ok"])).toBe(
      "ended with status 127: lua5.4: not found",
    );
  });

  it("runs the same files and memory under every engine", () => {
    const qemu = engineCommand("qemu", "k", "i", "a b");
    const auto = engineCommand("auto", "k", "i", "a b");
    expect(qemu.args.join(" ")).toContain("-m 1G -smp 1");
    expect(qemu.args.slice(-6)).toEqual(["-kernel", "k", "-initrd", "i", "-append", "a b"]);
    expect(auto.args.slice(1)).toEqual(
      "run --memory 1G --tier auto --no-tty --kernel k --initrd i --append".split(" ").concat("a b"),
    );
  });
});
