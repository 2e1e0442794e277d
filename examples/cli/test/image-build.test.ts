/**
 * `hyperfile image build debian` through the program, with an image that somebody else has built: where it gets to, what
 * is left of one that fails, and each mistake in one line.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openImage, openStore } from "@hyperfile/devices/node";
import { buildDebianImage, type DebianImageOptions } from "@hyperfile/machine/debian";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ProgramSurroundings, runProgram } from "../src/program.js";
import { showProgress, timeLeft } from "../src/progress.js";

const BYTES = 512 << 20;
const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk me@host\n";
let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hyperfile-build-"));
  await mkdir(at("store"));
  const store = openStore(at("store"));
  await store.create("built", { size: BYTES });
  const disk = await store.open("built", { isWritable: true });
  await disk.write(300 << 20, [new Uint8Array(4096).fill(7)]);
  await disk.flush();
  await disk.close();
  await writeFile(at("key.pub"), key);
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the program; gives what it printed, and what was to be built. */
async function build(args: string[], make: ProgramSurroundings["buildImage"] = built) {
  let [output, errors] = ["", ""];
  const asked: DebianImageOptions[] = [];
  const surroundings = {
    version: "0",
    write: (text: string) => (output += text),
    streams: { error: (text: string) => (errors += text) },
    buildImage: (options: DebianImageOptions) => {
      asked.push(options);
      return make!(options);
    },
  } as unknown as ProgramSurroundings;
  const status = await runProgram(["image", "build", ...args], surroundings);
  return { status, output, errors, asked };
}
const built: ProgramSurroundings["buildImage"] = async () => ({
  store: at("store"),
  name: "built",
  guest: { kernel: "", initrd: "", release: "", cached: true },
  packages: [],
  cached: true,
});

describe("an image that was built", () => {
  it.each([
    ["qcow2", "out.qcow2", ""],
    ["raw", "out.raw", ",format=raw"],
    ["store", "store/images/mine", ""],
  ])("is copied to %s, with the command that starts it", async (format, name, drive) => {
    const out = at(name);
    const { status, output } = await build(["debian", "--size", "512M", "--format", format, out]);
    expect([status, output]).toEqual([
      0,
      `${out}: Debian trixie, 0 packages, from the cache\nstart it: hyperfile start --memory 1G --append root=/dev/vda --drive file=${out}${drive}\n`,
    ]);
    const image = await openImage(out);
    const bytes = new Uint8Array(4097);
    await image.disk.read((300 << 20) - 1, [bytes]);
    expect([image.disk.size, bytes[0], bytes[1], bytes[4096]]).toEqual([BYTES, 0, 7, 7]);
    await image.close();
  });

  it("is asked for with what the options say", async () => {
    const options =
      "--suite forky --size 1G --packages gcc,make --packages less --hostname box --user me".split(" ");
    const { status, asked } = await build([
      "debian",
      ...options,
      "--ssh-key",
      at("key.pub"),
      at("all.qcow2"),
    ]);
    expect(status).toBe(0);
    expect(asked).toEqual([
      expect.objectContaining({
        suite: "forky",
        bytes: 2 ** 30,
        packages: ["gcc", "make", "less"],
        hostname: "box",
        user: "me",
        sshKey: key,
        variant: "standard",
      }),
    ]);
  });
});

it.each([
  ["qcow2", "whole.qcow2"],
  ["store", "store/images/whole"],
])("in %s has its name once it is whole", async (format, name) => {
  let during: unknown;
  const { status } = await build(
    ["debian", "--size", "512M", "--format", format, at(name)],
    async (options) => {
      during = existsSync(at(name));
      return built!(options);
    },
  );
  const after = await readdir(join(at(name), ".."));
  expect([status, during, existsSync(at(name))]).toEqual([0, false, true]);
  expect(after.filter((each) => each.includes("unfinished"))).toEqual([]);
});

describe("mistakes", () => {
  it.each([
    ["another system", ["hurd", "x"], 'there is no system "hurd" to build: give debian', 2],
    ["no file", ["debian"], "missing required argument 'out'", 2],
    ["a size that is none", ["debian", "--size", "big", "x"], "Give a number and a unit, such as 4G", 2],
    [
      "a key that is not there",
      ["debian", "--ssh-key", "/absent.pub", "x"],
      "can't read the SSH key /absent.pub",
      1,
    ],
    [
      "a format that there is not",
      ["debian", "--format", "vmdk", "x"],
      "Allowed choices are raw, qcow2, store",
      2,
    ],
  ])("%s", async (_, args, message, status) => {
    const result = await build(args);
    expect([result.status, result.output, result.asked]).toEqual([status, "", []]);
    expect(result.errors).toMatch(/^hyperfile: [^\n]*\n$/);
    expect(result.errors).toContain(message);
  });

  it.each([
    ["qcow2", "key.pub/none/x.qcow2"],
    ["store", "key.pub/images/x"],
  ])("a place for %s that can't be written is told before anything is built", async (format, name) => {
    const { status, errors, asked } = await build(["debian", "--format", format, at(name)]);
    expect([status, asked]).toEqual([1, []]);
    expect(errors).toMatch(/^hyperfile: [^\n]*key\.pub[^\n]*a part of the path is not a folder\n$/);
  });

  it("a file that is there stays as it is, before anything is built", async () => {
    const before = await readdir(folder);
    const { status, errors, asked } = await build(["debian", at("key.pub")]);
    expect([status, asked]).toEqual([1, []]);
    expect(errors).toMatch(/^hyperfile: [^\n]*key\.pub[^\n]*\n$/);
    expect(await readdir(folder)).toEqual(before);
  });

  it.each([
    ["--hostname", "a_b", '"a_b" is no hostname'],
    ["--user", "Me", '"Me" is no user'],
    ["--packages", "A", '"A" is no name of a package'],
    ["--suite", "../x", '"../x" is no suite of Debian'],
    ["--size", "1M", "give 512M to 16T"],
  ])("%s %s, of which no file is left", async (flag, value, message) => {
    const { status, errors } = await build(["debian", flag, value, at("none.qcow2")], buildDebianImage);
    expect([status, existsSync(at("none.qcow2"))]).toEqual([1, false]);
    expect(errors).toMatch(/^hyperfile: [^\n]*\n$/);
    expect(errors).toContain(message);
  });

  it("a build that fails leaves no image, in a store neither", async () => {
    const fail = async () => {
      throw new Error("dpkg can't configure the package x");
    };
    for (const [format, name] of [
      ["raw", "failed.raw"],
      ["store", "store/images/failed"],
    ]) {
      const { status, errors } = await build(["debian", "--format", format!, at(name!)], fail);
      expect([status, errors]).toEqual([1, "hyperfile: dpkg can't configure the package x\n"]);
      expect(existsSync(at(name!))).toBe(false);
    }
  });
});

describe("the time left", () => {
  it("is told when it is more than a guess", () => {
    expect(timeLeft(0.5, 2)).toBe("");
    expect(timeLeft(0.01, 100)).toBe("");
    expect(timeLeft(0.25, 10)).toBe(", about 30 s left");
    expect(timeLeft(0.1, 60)).toBe(", about 9 min left");
    expect(timeLeft(1, 60)).toBe("");
  });

  it("stands in the line of progress, from the start of each operation", () => {
    let [text, seconds] = ["", 1000];
    const progress = showProgress({ write: (part) => (text += part) }, () => seconds);
    progress.begin("installing Debian");
    seconds += 100;
    progress.update(0.5);
    progress.begin("writing");
    seconds += 1;
    progress.update(0.5);
    expect(text).toBe(
      "hyperfile: installing Debian\nhyperfile: installing Debian: 50%, about 2 min left\nhyperfile: writing\nhyperfile: writing: 50%\n",
    );
  });
});
