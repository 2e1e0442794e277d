/**
 * The file system device against drivers that mean harm: nothing that a driver asks reaches outside its buffers or the folder,
 * or keeps the device from the next request.
 */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { linuxErrors } from "../src/share/errors.js";
import { opcodes } from "../src/share/fuse/protocol.js";
import { LinuxFolder } from "../src/share/node/linux-folder.js";
import { generator } from "./disk-model.js";
import { FS_QUEUE, FsDriver, HIPRIO, REQUESTS, UNTOUCHED } from "./fs-driver.js";
import { FuseClient, pack } from "./fuse-client.js";
import { handlesSettle, temporary, text } from "./shared-folders.js";

/** 20,000 and more are run with HYPERFILE_SHARE_REQUESTS=20000. */
const GENERATED = Number(process.env.HYPERFILE_SHARE_REQUESTS ?? 6000);

const known = new Set<number>(Object.values(linuxErrors));
const [OK, BROKEN] = [15, 15 + 64];

test(`${GENERATED} generated requests, most of them malformed, are answered or break the device until it is reset`, async () => {
  const random = generator(2611);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const outside = temporary();
  writeFileSync(join(outside, "canary"), "CANARY");
  const path = temporary();
  mkdirSync(join(path, "d"));
  writeFileSync(join(path, "file"), "content");
  symlinkSync(outside, join(path, "link"));
  symlinkSync(join(outside, "canary"), join(path, "d", "link"));
  const folder = await LinuxFolder.open(path, { handles: 8 });
  const errors: unknown[] = [];
  const driver = new FsDriver({ tag: "t", folder, onError: (error) => errors.push(error) });
  const client = new FuseClient(driver.carry);
  const begin = async (): Promise<void> => {
    driver.start([FS_QUEUE, FS_QUEUE]);
    expect((await client.start()).error).toBe(undefined);
  };
  await begin();

  const names = [
    "a",
    "b",
    "d",
    "file",
    "link",
    "..",
    ".",
    "",
    "a/b",
    "../x",
    "n".repeat(255),
    "n".repeat(256),
  ];
  const number = (): bigint =>
    BigInt(pick([0, 1, 1, 1, 2, 3, 4, 5 + random(40), random(2 ** 31), 2 ** 53 + 2])) +
    (random(30) === 0 ? 2n ** 63n : 0n);
  const word = (): number => pick([0, 1, 2, 0o100, 0o1102, random(64), 4096, random(2 ** 31), 0xffffffff]);
  const ends: number[] = [opcodes.init, opcodes.destroy];
  const all = Object.values(opcodes).filter((opcode) => !ends.includes(opcode));
  /** Something like the structure and names of an opcode. */
  const bodyOf = (opcode: number): Uint8Array => {
    const name = pick(names);
    switch (opcode) {
      case opcodes.lookup:
      case opcodes.unlink:
      case opcodes.rmdir:
        return pack(name);
      case opcodes.forget:
      case opcodes.interrupt:
        return pack(number());
      case opcodes.batchForget:
        return pack(pick([0, 1, 2, 3, 0xffffffff]), 0, ...Array.from({ length: 4 }, number));
      case opcodes.getattr:
        return pack(random(2), 0, number());
      case opcodes.setattr:
        return pack(
          random(512),
          0,
          number(),
          pick([0n, 5n, 2n ** 62n, number()]),
          ...Array.from({ length: 4 }, number),
          ...Array.from({ length: 8 }, word),
        );
      case opcodes.symlink:
        return pack(name, pick(["/etc/passwd", "../..", "", "t".repeat(5000)]));
      case opcodes.mknod:
        return pack(pick([0o100644, 0o060666, word()]), word(), 0, 0, name);
      case opcodes.mkdir:
        return pack(word(), 0, name);
      case opcodes.rename:
        return pack(number(), name, pick(names));
      case opcodes.rename2:
        return pack(number(), random(4), 0, name, pick(names));
      case opcodes.link:
        return pack(number(), name);
      case opcodes.open:
      case opcodes.opendir:
        return pack(word(), 0);
      case opcodes.create:
        return pack(word(), word(), 0, 0, name);
      case opcodes.read:
      case opcodes.readdir:
        return pack(number(), number(), word(), 0, 0n, 0, 0);
      case opcodes.write: {
        const data = new Uint8Array(random(600)).fill(7);
        const size = random(4) === 0 ? word() : data.length;
        return pack(number(), pick([0n, 3n, number()]), size, random(3), 0n, word(), 0, data);
      }
      case opcodes.init:
        return pack(
          pick([6, 7, 7, 7, 8]),
          pick([0, 30, 31, 40]),
          0,
          0xffffffff,
          ...(random(2) === 0 ? [] : [word(), new Uint8Array(44)]),
        );
      case opcodes.statfs:
      case opcodes.readlink:
      case opcodes.destroy:
        return pack();
      default:
        return Uint8Array.from({ length: random(120) }, () => random(256));
    }
  };
  const seen = { done: 0, refused: 0, silent: 0, broken: 0 };
  let sent = 0;
  let unique = 1n;
  while (sent < GENERATED) {
    const round = Array.from({ length: 1 + random(16) }, () => {
      const opcode = random(100) === 0 ? pick(ends) : random(12) === 0 ? word() : pick(all);
      let body = bodyOf(opcode);
      if (random(6) === 0) body = body.slice(0, random(body.length + 1));
      if (random(10) === 0) body = Buffer.concat([body, new Uint8Array(random(40))]);
      const length = 40 + body.length + (random(8) === 0 ? pick([-1, 1, 2 ** 31]) : 0);
      unique += 2n;
      let request: Uint8Array = pack(
        length,
        opcode,
        unique,
        number(),
        0,
        0,
        0,
        random(30) === 0 ? 1 : 0,
        body,
      );
      if (random(60) === 0) request = request.slice(0, random(41));
      const room =
        random(100) === 0
          ? pick([0, 1, 15])
          : pick([16, 24, 119, 120, 144, 160, 176, 600, random(300), 4112, 4112, 4112, 4112, 4112, 4112]);
      const cuts = (total: number): number[] => {
        const parts: number[] = [];
        for (let left = total; left > 0 && parts.length < 5; left -= parts.at(-1)!)
          parts.push(parts.length < 4 && random(3) === 0 ? 1 + random(left) : left);
        return parts;
      };
      const queue = random(5) === 0 ? HIPRIO : REQUESTS;
      const asked = driver.submit({ request, room, queue, cuts, isIndirect: random(3) === 0 });
      return { asked, unique, opcode };
    });
    const { writes } = driver.memory;
    writes.length = 0;
    const work = driver.memory.accesses;
    driver.kick(REQUESTS);
    driver.kick(HIPRIO);
    await driver.settled();
    sent += round.length;
    const isBroken = driver.status === BROKEN;
    if (!isBroken) expect(driver.status).toBe(OK);
    const used = [HIPRIO, REQUESTS].map((queue) => driver.queues[queue]!.takeUsed());
    for (const { asked, unique, opcode } of round) {
      const mine = used[asked.queue]!.filter(({ head }) => head === asked.head);
      if (mine.length === 0 && isBroken) continue;
      expect(mine.length, `opcode ${opcode}`).toBe(1);
      const { length } = mine[0]!;
      const bytes = asked.answer();
      expect(bytes.subarray(Math.max(length, 0)).every((byte) => byte === UNTOUCHED)).toBe(true);
      expect(length).toBeLessThanOrEqual(asked.room);
      if (length === 0) {
        seen.silent++;
        continue;
      }
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      expect([view.getUint32(0, true), view.getBigUint64(8, true)]).toEqual([length, unique]);
      const error = -view.getInt32(4, true);
      if (error !== 0) expect([known.has(error), length]).toEqual([true, 16]);
      seen[error === 0 ? "done" : "refused"]++;
    }
    const wild = writes.filter(
      ({ gpa, length }) =>
        !round.some(({ asked }) => gpa >= asked.answerAt && gpa + length <= asked.answerAt + asked.room) &&
        ![0, 1].some((queue) => {
          const ring = driver.queues[queue]!.used;
          return gpa >= ring && gpa + length <= ring + 6 + 8 * FS_QUEUE;
        }),
    );
    expect(wild).toEqual([]);
    expect(driver.memory.accesses - work).toBeLessThan(16 * 200);
    if (isBroken) seen.broken++;
    // Whatever was asked, the next client is served; a DESTROY or INIT among the requests has ended this one's session.
    if (isBroken || random(20) === 0 || round.some(({ opcode }) => ends.includes(opcode))) {
      await begin();
      expect((await client.lookUp(1n, "d")).error).toBe(undefined);
    }
  }
  for (const [outcome, count] of Object.entries(seen))
    expect(count, outcome).toBeGreaterThan(GENERATED / 100);
  expect(errors).toEqual([]);
  await begin();
  const made = await client.create(1n, "last", 2 | 0o100);
  await client.write(made.file, 0n, new Uint8Array([104, 105]));
  expect(text((await client.read(made.file, 0n, 100)).body)).toBe("hi");
  expect([readdirSync(outside), readFileSync(join(outside, "canary"), "utf8")]).toEqual([
    ["canary"],
    "CANARY",
  ]);
  driver.set(0x70, 0);
  expect(await handlesSettle(path)).toBe(0);
  folder.close();
}, 600_000);
