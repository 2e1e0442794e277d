/** One writer of an image: processes that take it at once, that are killed while they have it, and what they leave. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  linkSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ImageLock } from "../../node.js";

const program = fileURLToPath(new URL("../../../test/hold-image.mjs", import.meta.url));
/** How often processes race, and milliseconds that they have to hear of it. */
const [TRIES, SOON_MS] = [20, 30];

let folder: string;
let image: string;
let children: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "hyperfile-lock-"));
  image = join(folder, "disk.qcow2");
  writeFileSync(image, "");
  children = [];
});
afterEach(() => {
  for (const child of children) child.kill("SIGKILL");
  rmSync(folder, { recursive: true });
});

const locks = () => readdirSync(folder).filter((name) => name.includes(".lock"));

/** A process that takes the image when it is told. */
class Holder {
  readonly child = spawn(process.execPath, [program], { stdio: ["pipe", "pipe", "inherit"] });
  private readonly lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();

  constructor() {
    children.push(this.child);
  }

  take(time = 0): Promise<string> {
    return this.tell(`take\t${image}\t${time}`);
  }

  release(): Promise<string> {
    return this.tell("release");
  }

  kill(): Promise<void> {
    return new Promise((resolve) => {
      this.child.once("exit", () => resolve());
      this.child.kill("SIGKILL");
    });
  }

  private async tell(order: string): Promise<string> {
    this.child.stdin.write(`${order}\n`);
    return String((await this.lines.next()).value);
  }
}

/** Lets all take the image at once; gives who has it. @throws if not exactly one has */
async function race(holders: readonly Holder[]): Promise<Holder> {
  const time = Date.now() + SOON_MS;
  const says = await Promise.all(holders.map((holder) => holder.take(time)));
  expect([...says].sort()).toEqual([...holders.slice(1).map(() => "E_IMAGE_LOCKED"), "holds"]);
  return holders[says.indexOf("holds")]!;
}

it("goes to exactly one of two processes that take it at once", async () => {
  const holders = [new Holder(), new Holder()];
  await Promise.all(holders.map((holder) => holder.release()));
  for (let round = 0; round < TRIES; round++) {
    const winner = await race(holders);
    expect(locks()).toEqual([".disk.qcow2.lock"]);
    expect(() => ImageLock.take(image)).toThrow(`process ${winner.child.pid} writes the image`);
    await winner.release();
    expect(locks()).toEqual([]);
  }
});

it("goes to exactly one of those that take it from a killed process, time and again", async () => {
  const holders = [new Holder(), new Holder()];
  for (let round = 0; round < TRIES; round++) {
    // Who wins is killed with the lock; another comes for it.
    const winner = await race(holders);
    expect(() => ImageLock.refuseIfTaken(image)).toThrow(`process ${winner.child.pid} writes the image`);
    await winner.kill();
    const next = new Holder();
    await next.release();
    holders[holders.indexOf(winner)] = next;
  }
  ImageLock.refuseIfTaken(image);
  const lock = ImageLock.take(image);
  lock.release();
  expect(locks()).toEqual([]);
});

it("waits for no pipe or device that stands in its place, and takes each for somebody's", () => {
  const first = join(folder, ".disk.qcow2.lock");
  for (const put of [() => execFileSync("mkfifo", [first]), () => symlinkSync("/dev/zero", first)]) {
    put();
    expect(() => ImageLock.take(image)).toThrow(/somebody writes the image; .*remove .*\.disk\.qcow2\.lock/);
    expect(() => ImageLock.refuseIfTaken(image)).toThrow(/somebody writes the image/);
    rmSync(first);
  }
  ImageLock.take(image).release();
});

it("is one lock for all links to an image, in one process too, and none for images of like names", () => {
  const [link, other] = [join(folder, "link"), join(folder, "disk")];
  symlinkSync(image, link);
  writeFileSync(other, "");
  const lock = ImageLock.take(link);
  expect(() => ImageLock.take(image)).toThrow(/disk\.qcow2: process \d+ writes the image/);
  ImageLock.take(other).release();
  lock.release();
  ImageLock.take(image).release();
});

it("knows the dead by their start and their boot, removes what they left, and believes what it can't see", () => {
  const first = join(folder, ".disk.qcow2.lock");
  const left = ImageLock.take(image);
  const own = readFileSync(first, "utf8");
  left.release();
  const [pid, start, number, ...place] = own.split("-");
  const identity = (parts: { start?: number; boot?: string; host?: string }) =>
    [
      pid,
      parts.start ?? start,
      number,
      parts.host ?? place[0],
      parts.boot ?? place[1],
      ...place.slice(2),
    ].join("-");
  const dead = identity({ start: Number(start) - 1 });
  const rebooted = identity({ boot: "another" });
  writeFileSync(first, dead);
  // Links of other chains, and drafts.
  linkSync(first, `${first}.${rebooted}`);
  writeFileSync(`${first}-draft.${rebooted}`, "");
  // What looks like it, of another image.
  writeFileSync(join(folder, ".disk.qcow2.lock.old.lock"), dead);
  const lock = ImageLock.take(image);
  expect(locks().sort()).toEqual(
    [".disk.qcow2.lock", `.disk.qcow2.lock.${dead}`, ".disk.qcow2.lock.old.lock"].sort(),
  );
  lock.release();
  expect(locks()).toEqual([".disk.qcow2.lock.old.lock"]);
  for (const believed of [identity({ host: "elsewhere" }), "nonsense"]) {
    writeFileSync(first, believed);
    expect(() => ImageLock.take(image)).toThrow(
      new RegExp(`writes the image; wait until it has ended, or remove ${first} if it has$`),
    );
    expect(readFileSync(first, "utf8")).toBe(believed);
    rmSync(first);
  }
  expect(locks()).toEqual([".disk.qcow2.lock.old.lock"]);
});
