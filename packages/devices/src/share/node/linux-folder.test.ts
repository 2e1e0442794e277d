/** A shared folder of a Linux host: what confines a guest to it, what the host changes under it, and what is saved of it. */
import { spawnSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { generator } from "../../../test/disk-model.js";
import { type FuseClient, pack, u64 } from "../../../test/fuse-client.js";
import { bytes, client, handlesBelow, handlesSettle, temporary, text } from "../../../test/shared-folders.js";
import { opcodes } from "../fuse/protocol.js";
import { LinuxFolder } from "./linux-folder.js";

const [WRONLY, RDWR, CREAT, APPEND] = [1, 2, 0o100, 0o2000];

/** Everything of a file that a client is given, or the error. */
async function contentOf(fuse: FuseClient, path: string): Promise<string> {
  const { error, node } = await fuse.walk(path);
  if (error !== undefined) return error;
  const opened = await fuse.open(node, 0);
  if (opened.error !== undefined) return opened.error;
  const { body, error: failed } = await fuse.read(opened.file, 0n, 1 << 16);
  await fuse.release(opened.file);
  return failed ?? text(body);
}

describe("nothing outside", () => {
  it("names that are none lead nowhere", async () => {
    const { fuse, path } = await client();
    mkdirSync(join(path, "in"));
    writeFileSync(join(path, "file"), "");
    const { node } = await fuse.lookUp(1n, "in");
    for (const name of ["..", ".", "", "../file", "in/..", "/etc/passwd", "\0"])
      expect((await fuse.lookUp(node, name)).error, JSON.stringify(name)).toBe("EINVAL");
    expect((await fuse.lookUp(node, "n".repeat(256))).error).toBe("ENAMETOOLONG");
    expect((await fuse.send(opcodes.mkdir, node, pack(0o755, 0, "../out"))).error).toBe("EINVAL");
    expect((await fuse.send(opcodes.rename, 1n, pack(node, "file", ".."))).error).toBe("EINVAL");
    expect((await fuse.create(node, "..", WRONLY | CREAT)).error).toBe("EINVAL");
    // What it never was given, it does not have.
    for (const made of [0n, 77n, 2n ** 53n, 2n ** 64n - 1n])
      expect((await fuse.getattr(made)).error).toBe("ESTALE");
  });

  it("links are the guest's to read, and the host follows none", async () => {
    const outside = temporary();
    writeFileSync(join(outside, "canary"), "CANARY");
    const { fuse, path } = await client();
    symlinkSync(join(outside, "canary"), join(path, "file"));
    symlinkSync(outside, join(path, "folder"));
    symlinkSync("/proc/self/root", join(path, "proc"));
    const { node, attributes } = await fuse.lookUp(1n, "file");
    expect(attributes!.mode & 0o170000).toBe(0o120000);
    expect(text((await fuse.send(opcodes.readlink, node, pack())).body)).toBe(join(outside, "canary"));
    expect((await fuse.open(node, RDWR)).error).toBe("ELOOP");
    expect((await fuse.create(1n, "file", WRONLY | CREAT)).error).toBe("ELOOP");
    expect((await fuse.setattr(node, { valid: 8 })).error).toBe("EINVAL");
    expect((await fuse.setattr(node, { valid: 1, mode: 0o777 })).error).toBe("EOPNOTSUPP");
    // Times of a link are its own.
    const before = statSync(join(outside, "canary")).mtimeMs;
    expect((await fuse.setattr(node, { valid: 32, modified: 5_000_000_000n })).error).toBe(undefined);
    expect((await fuse.getattr(node)).attributes!.modified / 1000n).toBe(5_000_000n);
    expect(statSync(join(outside, "canary")).mtimeMs).toBe(before);
    for (const name of ["folder", "proc"]) {
      const link = await fuse.lookUp(1n, name);
      for (const below of ["canary", "etc"])
        expect((await fuse.lookUp(link.node, below)).error).toBe("ENOTDIR");
      expect((await fuse.list(link.node)).error).toBe("ENOTDIR");
      expect((await fuse.send(opcodes.mkdir, link.node, pack(0o755, 0, "new"))).error).toBe("ENOTDIR");
    }
    // A hard link to a link is the link's.
    const made = await fuse.send(opcodes.link, 1n, pack(node, "second"));
    expect([made.error, u64(made.body, 0)]).toEqual([undefined, node]);
    expect(readFileSync(join(outside, "canary"), "utf8")).toBe("CANARY");
  });

  it("what the host moves out of the folder is gone, also where it is open", async () => {
    const outside = temporary();
    const { fuse, path } = await client();
    mkdirSync(join(path, "d", "e"), { recursive: true });
    writeFileSync(join(path, "d", "file"), "mine");
    const [folder, deep, file] = [await fuse.walk("d"), await fuse.walk("d/e"), await fuse.walk("d/file")];
    const opened = await fuse.open(file.node, RDWR);
    renameSync(join(path, "d"), join(outside, "d"));
    writeFileSync(join(outside, "d", "late"), "CANARY");
    writeFileSync(join(outside, "d", "file"), "CANARY");
    const attempts = [
      fuse.lookUp(folder.node, "late"),
      fuse.getattr(folder.node),
      fuse.getattr(file.node),
      fuse.list(folder.node),
      fuse.send(opcodes.mkdir, deep.node, pack(0o755, 0, "new")),
      fuse.send(opcodes.unlink, folder.node, pack("late")),
      fuse.create(folder.node, "new", WRONLY | CREAT),
      fuse.open(file.node, 0),
      fuse.read(opened.file, 0n, 100),
      fuse.write(opened.file, 0n, bytes("guest")),
    ];
    for (const attempt of attempts) expect((await attempt).error).toBe("ESTALE");
    expect(readFileSync(join(outside, "d", "file"), "utf8")).toBe("CANARY");
    // Moved back, or the folder itself moved, it is what it was.
    renameSync(join(outside, "d"), join(path, "d"));
    expect(text((await fuse.read(opened.file, 0n, 100)).body)).toBe("CANARY");
    const moved = `${path}-moved`;
    renameSync(path, moved);
    expect((await fuse.lookUp(folder.node, "late")).error).toBe(undefined);
    renameSync(moved, path);
  });

  it("10,000 renames of the host's never show what is outside", async () => {
    const outside = temporary();
    const { fuse, path, server } = await client({ handles: 16 });
    mkdirSync(join(outside, "canaries"));
    writeFileSync(join(outside, "canaries", "secret"), "CANARY");
    const random = generator(7);
    const lanes = 8;
    const cycles = 209;
    let renames = 0;
    let isOver = false;
    /** Puts a link to the outside in place of a folder, which goes outside meanwhile and gets a file there. */
    const shuffle = async (lane: number) => {
      const [here, link, there] = [
        join(path, `d${lane}`),
        join(outside, `l${lane}`),
        join(outside, `d${lane}`),
      ];
      const late = join(outside, `late${lane}`);
      const move = async (from: string, to: string) => {
        await rename(from, to);
        renames++;
        for (let turns = random(8); turns > 0; turns--) await new Promise(setImmediate);
      };
      for (let cycle = 0; cycle < cycles; cycle++) {
        await move(here, there);
        await move(late, join(there, "late"));
        await move(link, here);
        await move(here, link);
        await move(join(there, "late"), late);
        await move(there, here);
      }
    };
    const seen = { inside: 0, links: 0, gone: 0 };
    const walk = async (lane: number) => {
      while (!isOver) {
        const folder = await fuse.lookUp(1n, `d${lane}`);
        if (folder.error !== undefined) {
          expect(["ENOENT", "ESTALE"]).toContain(folder.error);
          seen.gone++;
          continue;
        }
        if ((folder.attributes!.mode & 0o170000) === 0o120000) seen.links++;
        expect((await fuse.lookUp(folder.node, "late")).error).toMatch(/^E(NOENT|STALE|NOTDIR)$/);
        const file = await fuse.lookUp(folder.node, "secret");
        if (file.error === undefined) {
          const opened = await fuse.open(file.node, 0);
          if (opened.error === undefined) {
            const { error, body } = await fuse.read(opened.file, 0n, 100);
            expect(error ?? text(body)).toMatch(/^(ESTALE|inside)$/);
            if (error === undefined) seen.inside++;
            await fuse.release(opened.file);
          }
          await fuse.forget(file.node);
        } else expect(file.error).toMatch(/^E(NOENT|STALE|NOTDIR)$/);
        await fuse.forget(folder.node);
      }
    };
    for (let lane = 0; lane < lanes; lane++) {
      mkdirSync(join(path, `d${lane}`));
      writeFileSync(join(path, `d${lane}`, "secret"), "inside");
      symlinkSync(join(outside, "canaries"), join(outside, `l${lane}`));
      writeFileSync(join(outside, `late${lane}`), "CANARY");
    }
    const all = Array.from({ length: lanes }, (_, lane) => lane);
    const walks = all.map(walk);
    await Promise.all(all.map(shuffle));
    isOver = true;
    await Promise.all(walks);
    expect(renames).toBeGreaterThanOrEqual(10_000);
    for (const [what, count] of Object.entries(seen)) expect(count, what).toBeGreaterThan(0);
    expect(server.counters).toMatchObject({ errors: 0, wrongForgets: 0 });
    expect(await contentOf(fuse, "d0/secret")).toBe("inside");
  }, 300_000);
});

describe("what the host changes", () => {
  it("is seen at the next look, also where neither size nor time tell", async () => {
    const { fuse, path } = await client();
    const file = join(path, "file");
    writeFileSync(file, "one");
    utimesSync(file, 5, 5);
    const { node } = await fuse.lookUp(1n, "file");
    const opened = await fuse.open(node, 0);
    expect(text((await fuse.read(opened.file, 0n, 100)).body)).toBe("one");
    writeFileSync(file, "two");
    utimesSync(file, 5, 5);
    expect(text((await fuse.read(opened.file, 0n, 100)).body)).toBe("two");
    writeFileSync(file, "longer than it was");
    expect(text((await fuse.read(opened.file, 0n, 100)).body)).toBe("longer than it was");
    // The host's editors put another file in its place.
    writeFileSync(join(path, "new"), "another");
    renameSync(join(path, "new"), file);
    expect(text((await fuse.read(opened.file, 0n, 100)).body)).toBe("longer than it was");
    expect((await fuse.lookUp(1n, "file")).node).not.toBe(node);
    expect(await contentOf(fuse, "file")).toBe("another");
    // The client is told to keep nothing, and to ask the host for each byte.
    const { body } = await fuse.lookUp(1n, "file");
    expect([...body.subarray(16, 40)]).toEqual(Array(24).fill(0));
    expect((await fuse.open(node, 0)).body[8]).toBe(1);
  });

  it("what is gone is stale, and another file in its place is another", async () => {
    const { fuse, path } = await client({ handles: 2 });
    mkdirSync(join(path, "d"));
    for (const name of ["d/a", "b", "c", "e"]) writeFileSync(join(path, name), name);
    const nodes: Record<string, bigint> = {};
    for (const name of ["d", "d/a", "b", "c", "e"]) nodes[name] = (await fuse.walk(name)).node;
    expect(handlesBelow(path)).toBeLessThanOrEqual(3);
    // Each has lost its handle by now, and is found again.
    for (const name of ["d", "d/a", "b", "c", "e"])
      expect((await fuse.getattr(nodes[name]!)).error).toBe(undefined);
    unlinkSync(join(path, "b"));
    renameSync(join(path, "c"), join(path, "d", "c"));
    writeFileSync(join(path, "c"), "another");
    for (const name of ["e", "d", "d/a"]) await fuse.getattr(nodes[name]!);
    for (const name of ["b", "c"]) expect((await fuse.getattr(nodes[name]!)).error, name).toBe("ESTALE");
    expect((await fuse.open(nodes.c!, 0)).error).toBe("ESTALE");
    // Seen again by another name it is itself again.
    expect((await fuse.walk("d/c")).node).toBe(nodes.c);
    expect((await fuse.getattr(nodes.c!)).error).toBe(undefined);
    // What the guest moves, the view follows.
    expect((await fuse.send(opcodes.rename, 1n, pack(1n, "d", "moved"))).error).toBe(undefined);
    for (const name of ["e", "c"]) await fuse.getattr(nodes[name]!);
    expect((await fuse.getattr(nodes["d/a"]!)).error).toBe(undefined);
  });

  it("folders that are turned inside out are found again, each by its look", async () => {
    const { fuse, path } = await client({ handles: 1 });
    mkdirSync(join(path, "a", "b"), { recursive: true });
    writeFileSync(join(path, "a", "b", "file"), "deep");
    const [a, b] = [(await fuse.walk("a")).node, (await fuse.walk("a/b")).node];
    renameSync(join(path, "a", "b"), join(path, "b"));
    renameSync(join(path, "a"), join(path, "b", "a"));
    // It knows b by its handle, and where it was by its name in a, which now is in b.
    expect((await fuse.lookUp(b, "a")).node).toBe(a);
    expect((await fuse.walk("b")).node).toBe(b);
    expect((await fuse.lookUp(b, "a")).node).toBe(a);
    expect(await contentOf(fuse, "b/file")).toBe("deep");
  });
});

describe("what a guest may do", () => {
  it("a folder that is only read takes nothing", async () => {
    const path = temporary();
    writeFileSync(join(path, "file"), "content");
    const { fuse } = await client({ path, isReadOnly: true });
    const { node } = await fuse.lookUp(1n, "file");
    const opened = await fuse.open(node, 0);
    const attempts = [
      fuse.create(1n, "new", WRONLY | CREAT),
      fuse.create(1n, "file", WRONLY),
      fuse.open(node, WRONLY),
      fuse.open(node, 0o1000),
      fuse.setattr(node, { valid: 8 }),
      fuse.setattr(node, { valid: 1, mode: 0o777 }),
      fuse.send(opcodes.mkdir, 1n, pack(0o755, 0, "d")),
      fuse.send(opcodes.mknod, 1n, pack(0o100644, 0, 0, 0, "n")),
      fuse.send(opcodes.symlink, 1n, pack("l", "x")),
      fuse.send(opcodes.link, 1n, pack(node, "l")),
      fuse.send(opcodes.unlink, 1n, pack("file")),
      fuse.send(opcodes.rmdir, 1n, pack("file")),
      fuse.send(opcodes.rename, 1n, pack(1n, "file", "other")),
    ];
    for (const attempt of attempts) expect((await attempt).error).toBe("EROFS");
    expect((await fuse.write(opened.file, 0n, bytes("x"))).error).toBe("EBADF");
    expect(text((await fuse.read(opened.file, 0n, 100)).body)).toBe("content");
  });

  it("owners, special files and set-id bits are refused", async () => {
    const { fuse, path } = await client();
    const made = await fuse.create(1n, "file", RDWR | CREAT, 0o600);
    expect(made.attributes).toMatchObject({ mode: 0o100600, uid: 0, gid: 0 });
    expect(statSync(join(path, "file")).mode).toBe(0o100600);
    expect((await fuse.setattr(made.node, { valid: 2, uid: 0 })).error).toBe(undefined);
    expect((await fuse.setattr(made.node, { valid: 2, uid: 1000 })).error).toBe("EPERM");
    expect((await fuse.setattr(made.node, { valid: 1, mode: 0o4755 })).error).toBe("EPERM");
    expect((await fuse.create(1n, "set", RDWR | CREAT, 0o4755)).error).toBe("EPERM");
    for (const type of [0o010000, 0o020000, 0o060000, 0o140000])
      expect((await fuse.send(opcodes.mknod, 1n, pack(type | 0o644, 0x103, 0, 0, "n"))).error).toBe("EPERM");
    const regular = await fuse.send(opcodes.mknod, 1n, pack(0o100640, 0, 0, 0, "n"));
    expect([regular.error, statSync(join(path, "n")).mode]).toEqual([undefined, 0o100640]);
    // A pipe of the host's is seen, and nobody waits at it.
    expect(spawnSync("mkfifo", [join(path, "pipe")]).status).toBe(0);
    const pipe = await fuse.lookUp(1n, "pipe");
    expect(pipe.attributes!.mode & 0o170000).toBe(0o010000);
    expect((await fuse.open(pipe.node, 0)).error).toBe("ENXIO");
    expect((await fuse.create(1n, "pipe", WRONLY | CREAT)).error).toBe("ENXIO");
    expect((await fuse.send(opcodes.rename2, 1n, pack(1n, 1, 0, "n", "m"))).error).toBe("EINVAL");
    expect((await fuse.send(22, 1n, pack(100, 0, "user.name"))).error).toBe("ENOSYS");
  });

  it("what is appended goes to the end that the host has, and mapped bytes to their place", async () => {
    const { fuse, path } = await client();
    const made = await fuse.create(1n, "log", RDWR | CREAT | APPEND);
    await fuse.write(made.file, 0n, bytes("one "), RDWR | APPEND);
    writeFileSync(join(path, "log"), "two ", { flag: "a" });
    await fuse.write(made.file, 4n, bytes("three "), RDWR | APPEND);
    expect(readFileSync(join(path, "log"), "utf8")).toBe("one two three ");
    // FUSE_WRITE_CACHE: written back from a mapping.
    await fuse.write(made.file, 0n, bytes("ONE"), RDWR | APPEND, 1);
    expect(readFileSync(join(path, "log"), "utf8")).toBe("ONE two three ");
    expect((await fuse.send(opcodes.fsync, 0n, pack(made.file, 1, 0))).error).toBe(undefined);
    // A file that nobody may write by its mode is written by whoever has it open.
    const own = await fuse.create(1n, "read-only", RDWR | CREAT, 0o400);
    await fuse.write(own.file, 0n, bytes("content"));
    expect((await fuse.setattr(own.node, { valid: 8 | 64, size: 3n, file: own.file })).error).toBe(undefined);
    expect(readFileSync(join(path, "read-only"), "utf8")).toBe("con");
  });

  it("names are any bytes", async () => {
    const { fuse, path } = await client();
    const name = "\xff\xfe \n\x80";
    const made = await fuse.create(1n, name, WRONLY | CREAT);
    expect(made.error).toBe(undefined);
    await fuse.write(made.file, 0n, bytes("odd"));
    expect(await readFile(Buffer.from(`${path}/${name}`, "latin1"), "utf8")).toBe("odd");
    expect((await fuse.list(1n)).names).toEqual([".", "..", name]);
    expect((await fuse.lookUp(1n, name)).node).toBe(made.node);
  });

  it("holds are counted exactly, and a number is one file's for ever", async () => {
    const { fuse, path, server } = await client();
    writeFileSync(join(path, "file"), "");
    linkSync(join(path, "file"), join(path, "other"));
    const { node } = await fuse.lookUp(1n, "file");
    expect((await fuse.lookUp(1n, "other")).node).toBe(node);
    expect((await fuse.lookUp(1n, "file")).node).toBe(node);
    await fuse.forget(node, 2n);
    expect((await fuse.getattr(node)).error).toBe(undefined);
    await fuse.send(opcodes.batchForget, 0n, pack(2, 0, node, 1n, 1n, 5n), 0);
    expect((await fuse.getattr(node)).error).toBe("ESTALE");
    expect(server.counters.wrongForgets).toBe(0);
    expect((await fuse.getattr(1n)).error).toBe(undefined);
    const again = await fuse.lookUp(1n, "file");
    expect(again.node).not.toBe(node);
    await fuse.forget(again.node, 2n);
    await fuse.forget(node);
    expect(server.counters.wrongForgets).toBe(2);
    expect((await fuse.getattr(again.node)).error).toBe("ESTALE");
    expect(await handlesSettle(path)).toBe(0);
  });

  it("a session ends with its nodes, files and handles, also those under way", async () => {
    const { fuse, path } = await client();
    for (let index = 0; index < 20; index++) writeFileSync(join(path, `f${index}`), "x");
    const files = [];
    for (let index = 0; index < 20; index++) {
      const { node } = await fuse.lookUp(1n, `f${index}`);
      files.push((await fuse.open(node, 0)).file);
    }
    const late = [fuse.create(1n, "late", RDWR | CREAT), fuse.lookUp(1n, "f3"), fuse.read(files[0]!, 0n, 10)];
    expect((await fuse.send(opcodes.destroy, 0n, pack())).error).toBe(undefined);
    await Promise.all(late);
    expect((await fuse.lookUp(1n, "f0")).error).toBe("EIO");
    expect(await handlesSettle(path)).toBe(0);
    await fuse.start();
    expect((await fuse.read(files[0]!, 0n, 10)).error).toBe("EBADF");
    expect(await contentOf(fuse, "f0")).toBe("x");
  });
});

describe("what is saved", () => {
  it("is found again by another process's view: nodes, open files and folders", async () => {
    const { fuse, path, server } = await client();
    mkdirSync(join(path, "d"));
    for (const name of ["d/kept", "d/gone", "d/replaced"]) writeFileSync(join(path, name), name);
    const nodes: Record<string, bigint> = {};
    const files: Record<string, bigint> = {};
    for (const name of ["d/kept", "d/gone", "d/replaced"]) {
      nodes[name] = (await fuse.walk(name)).node;
      files[name] = (await fuse.open(nodes[name]!, RDWR)).file;
    }
    const unlinked = await fuse.create(1n, "unlinked", RDWR | CREAT);
    await fuse.send(opcodes.unlink, 1n, pack("unlinked"));
    const folder = u64((await fuse.send(opcodes.opendir, 1n, pack(0, 0))).body, 0);
    const state = server.save();
    server.close();
    expect(await handlesSettle(path)).toBe(0);
    rmSync(join(path, "d", "gone"));
    writeFileSync(join(path, "new"), "new");
    renameSync(join(path, "new"), join(path, "d", "replaced"));

    const second = await client({ path });
    second.server.restore(state);
    expect(handlesBelow(path)).toBe(0);
    expect((await second.fuse.write(files["d/kept"]!, 0n, bytes("KEPT!!"))).error).toBe(undefined);
    expect(readFileSync(join(path, "d", "kept"), "utf8")).toBe("KEPT!!");
    for (const name of ["d/gone", "d/replaced"]) {
      expect((await second.fuse.getattr(nodes[name]!)).error, name).toBe("ESTALE");
      expect((await second.fuse.read(files[name]!, 0n, 10)).error, name).toBe("ESTALE");
    }
    expect((await second.fuse.read(unlinked.file, 0n, 10)).error).toBe("ESTALE");
    expect((await second.fuse.walk("d/kept")).node).toBe(nodes["d/kept"]);
    const listed = await second.fuse.send(opcodes.readdir, 1n, pack(folder, 0n, 4096, 0, 0n, 0, 0));
    expect(listed.error).toBe(undefined);
    // Numbers go on where they were.
    const numbers = Object.values(nodes);
    writeFileSync(join(path, "fresh"), "");
    expect(numbers).not.toContain((await second.fuse.lookUp(1n, "fresh")).node);
    for (const file of [...Object.values(files), unlinked.file])
      expect((await second.fuse.release(file)).error).toBe(undefined);
  });

  it("a state that nobody saved is refused, and changes nothing", async () => {
    const { fuse, path, server } = await client();
    mkdirSync(join(path, "d"));
    writeFileSync(join(path, "d", "file"), "x");
    const { node } = await fuse.walk("d/file");
    await fuse.walk("d");
    const opened = await fuse.open(node, 0);
    const state = server.save();
    let refused = 0;
    for (const field of ["nodes", "open"] as const)
      for (let at = 0; at < state[field].length; at++)
        for (const value of [0, 0xff, 0x2f, state[field][at]! ^ 1]) {
          const changed = Uint8Array.from(state[field]);
          changed[at] = value;
          try {
            server.restore({ ...state, [field]: changed });
          } catch (error) {
            expect(error).toBeInstanceOf(RangeError);
            refused++;
          }
        }
    expect(refused).toBeGreaterThan(100);
    for (const field of ["nodes", "open"] as const)
      for (let length = 0; length < state[field].length; length++) {
        const cut = state[field].subarray(0, length);
        // A record less is a good state, of fewer.
        try {
          server.restore({ ...state, [field]: cut });
        } catch (error) {
          expect(error).toBeInstanceOf(RangeError);
        }
      }
    server.restore(state);
    expect(text((await fuse.read(opened.file, 0n, 10)).body)).toBe("x");
    expect((await fuse.getattr(node)).error).toBe(undefined);
  });
});

it("what is no folder is refused with one line", async () => {
  const path = temporary();
  writeFileSync(join(path, "file"), "");
  const open = (name: string) => LinuxFolder.open(join(path, name));
  await expect(open("none")).rejects.toMatchObject({
    code: "E_SHARE_FOLDER",
    message: `can't share ${path}/none: there is no such folder: make it, or name another`,
  });
  await expect(open("file")).rejects.toMatchObject({
    code: "E_SHARE_FOLDER",
    message: `can't share ${path}/file: it is no folder: share the folder that it is in`,
  });
});
