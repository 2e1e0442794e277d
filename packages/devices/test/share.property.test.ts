/** A shared folder by way of FUSE against another one by way of the host's own calls: thousands of random operations. */
import {
  chmodSync,
  closeSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { opcodes } from "../src/share/fuse/protocol.js";
import { generator } from "./disk-model.js";
import { pack, u64 } from "./fuse-client.js";
import { bytes, client, handlesSettle, temporary, text } from "./shared-folders.js";

const [WRONLY, RDWR, CREAT, EXCL, TRUNC, APPEND] = [1, 2, 0o100, 0o200, 0o1000, 0o2000];
/** The error of one of the host's calls, by name. */
function hostError(job: () => void): string | undefined {
  try {
    job();
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code;
  }
}

/** A folder as text: each name with what it stands for. */
function tree(folder: string, below = ""): string[] {
  return readdirSync(join(folder, below))
    .sort()
    .flatMap((name) => {
      const path = join(below, name);
      const stat = lstatSync(join(folder, path));
      const line = `${path} ${stat.mode.toString(8)} ${stat.isDirectory() ? "" : stat.nlink}`;
      if (stat.isDirectory()) return [line, ...tree(folder, path)];
      if (stat.isSymbolicLink()) return [`${line} ${readlinkSync(join(folder, path))}`];
      return [`${line} ${readFileSync(join(folder, path), "latin1")}`];
    });
}

describe.each([
  ["all handles that it wants", 1024],
  ["three handles", 3],
])("with %s", (_, handles) => {
  it("1,500 random operations do what the host's own calls do", async () => {
    const random = generator(handles);
    const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
    const mirror = temporary();
    const { fuse, path, server } = await client({ handles });
    const letters = ["a", "b", "c", "d"];
    const outcomes = new Map<string, number>();
    const held: { file: bigint; content: string }[] = [];
    /** Folders that are there, by the host's own account. */
    const folders = (): string[] => {
      const found = [""];
      for (const at of found)
        if (at.split("/").length < 4)
          for (const entry of readdirSync(join(mirror, at), { withFileTypes: true }))
            if (entry.isDirectory()) found.push(`${at}${entry.name}/`);
      return found;
    };
    for (let step = 0; step < 1500; step++) {
      const all = folders();
      const [parent, other] = [pick(all), pick(all)];
      const [name, newName] = [pick(letters), pick(letters)];
      const [here, there] = [join(mirror, parent, name), join(mirror, other, newName)];
      const walked = await fuse.walk(parent);
      expect(walked.error, `step ${step}: ${parent}`).toBe(undefined);
      const { node } = walked;
      /** Does something with the node of the name, as the host's call does with its path; links are not followed. */
      const onNode = async (job: (node: bigint, mode: number) => Promise<string | undefined>) => {
        const found = await fuse.lookUp(node, name);
        if (found.error !== undefined) return found.error;
        const error = await job(found.node, found.attributes!.mode);
        await fuse.forget(found.node);
        return error;
      };
      const isLink = (): boolean => hostError(() => readlinkSync(here)) === undefined;
      const content = `${step} `.repeat(1 + random(4));
      let expected: string | undefined;
      let actual: string | undefined;
      const kind = pick([
        ...["create", "create", "mkdir", "mkdir", "unlink", "rmdir", "rename", "rename", "link", "symlink"],
        ...["append", "truncate", "chmod", "times", "stat", "list", "read", "hold"],
      ] as const);
      switch (kind) {
        case "create": {
          if (isLink()) break;
          const flag = pick(["w", "wx"]);
          expected = hostError(() => writeFileSync(here, content, { flag }));
          const made = await fuse.create(node, name, WRONLY | CREAT | (flag === "wx" ? EXCL : TRUNC));
          actual = made.error;
          if (actual !== undefined) break;
          await fuse.write(made.file, 0n, bytes(content));
          await fuse.release(made.file);
          await fuse.forget(made.node);
          break;
        }
        case "mkdir": {
          expected = hostError(() => mkdirSync(here, 0o755));
          const made = await fuse.send(opcodes.mkdir, node, pack(0o755, 0o22, name));
          actual = made.error;
          if (actual === undefined) await fuse.forget(u64(made.body, 0));
          break;
        }
        case "unlink":
          expected = hostError(() => unlinkSync(here));
          actual = (await fuse.send(opcodes.unlink, node, pack(name))).error;
          break;
        case "rmdir":
          expected = hostError(() => rmdirSync(here));
          actual = (await fuse.send(opcodes.rmdir, node, pack(name))).error;
          break;
        case "rename": {
          expected = hostError(() => renameSync(here, there));
          const to = await fuse.walk(other);
          actual = (await fuse.send(opcodes.rename, node, pack(to.node, name, newName))).error;
          if (to.node !== 1n) await fuse.forget(to.node);
          break;
        }
        case "link": {
          expected = hostError(() => linkSync(here, there));
          actual = await onNode(async (file) => {
            const to = await fuse.walk(other);
            const made = await fuse.send(opcodes.link, to.node, pack(file, newName));
            if (to.node !== 1n) await fuse.forget(to.node);
            if (made.error === undefined) await fuse.forget(u64(made.body, 0));
            return made.error;
          });
          break;
        }
        case "symlink": {
          const target = pick(["a", "../b", "/etc/passwd", content]);
          expected = hostError(() => symlinkSync(target, here));
          const made = await fuse.send(opcodes.symlink, node, pack(name, target));
          actual = made.error;
          if (actual === undefined) await fuse.forget(u64(made.body, 0));
          break;
        }
        case "append":
          if (isLink()) break;
          expected = hostError(() => {
            const opened = openSync(here, WRONLY | APPEND);
            writeSync(opened, content);
            closeSync(opened);
          });
          actual = await onNode(async (file) => {
            const opened = await fuse.open(file, WRONLY | APPEND);
            if (opened.error !== undefined) return opened.error;
            await fuse.write(opened.file, 0n, bytes(content), WRONLY | APPEND);
            return (await fuse.release(opened.file)).error;
          });
          break;
        case "truncate": {
          if (isLink()) break;
          const size = random(20);
          expected = hostError(() => truncateSync(here, size));
          actual = await onNode(
            async (file) => (await fuse.setattr(file, { valid: 8, size: BigInt(size) })).error,
          );
          break;
        }
        case "chmod": {
          if (isLink()) break;
          const mode = pick([0o600, 0o755, 0o644, 0o1777]);
          expected = hostError(() => chmodSync(here, mode));
          actual = await onNode(async (file) => (await fuse.setattr(file, { valid: 1, mode })).error);
          break;
        }
        case "times": {
          if (isLink()) break;
          const modified = 1_700_000_000_000_000_000n + BigInt(random(1e9)) * 1000n;
          expected = hostError(() => utimesSync(here, 5, Number(modified) / 1e9));
          actual = await onNode(async (file) => {
            const set = await fuse.setattr(file, { valid: 32, modified });
            if (set.error === undefined)
              expect((await fuse.getattr(file)).attributes!.modified / 1000n).toBe(modified / 1000n);
            return set.error;
          });
          break;
        }
        case "stat": {
          let stat: { mode: number; size: number } | undefined;
          expected = hostError(() => {
            stat = lstatSync(here);
          });
          actual = await onNode(async (file) => {
            const { error, attributes } = await fuse.getattr(file);
            expect(attributes!.mode).toBe(stat!.mode);
            if (!lstatSync(here).isDirectory()) expect(attributes!.size).toBe(stat!.size);
            return error;
          });
          break;
        }
        case "list": {
          const room = pick([120, 4096]);
          const { error, names } = await fuse.list(node, room);
          expect([error, names.sort()]).toEqual([
            undefined,
            [".", "..", ...readdirSync(join(mirror, parent)).sort()],
          ]);
          break;
        }
        case "read": {
          let is = "";
          if (isLink()) {
            is = readlinkSync(here);
            actual = await onNode(async (file) => {
              const { error, body } = await fuse.send(opcodes.readlink, file, pack());
              expect(text(body)).toBe(is);
              return error;
            });
            break;
          }
          expected = hostError(() => {
            is = readFileSync(here, "latin1");
          });
          actual = await onNode(async (file) => {
            const opened = await fuse.open(file, 0);
            if (opened.error !== undefined) return opened.error;
            expect(text((await fuse.read(opened.file, 0n, 4096)).body)).toBe(is);
            return (await fuse.release(opened.file)).error;
          });
          break;
        }
        case "hold": {
          // A file that is open keeps its bytes when its last name goes.
          const made = await fuse.create(node, "held", RDWR | CREAT);
          expect(made.error).toBe(undefined);
          await fuse.write(made.file, 0n, bytes(content));
          expect((await fuse.send(opcodes.unlink, node, pack("held"))).error).toBe(undefined);
          held.push({ file: made.file, content });
          expect((await fuse.getattr(made.node)).attributes).toMatchObject({
            links: 0,
            size: content.length,
          });
          if (held.length > 4) {
            const first = held.shift()!;
            expect(text((await fuse.read(first.file, 0n, 4096)).body)).toBe(first.content);
            await fuse.release(first.file);
          }
          await fuse.forget(made.node);
          break;
        }
      }
      if (node !== 1n) await fuse.forget(node);
      expect(actual, `step ${step}: ${kind} ${parent}${name}, ${other}${newName}`).toBe(expected);
      const outcome = `${kind} ${actual === undefined ? "done" : "refused"}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (step % 300 === 299) expect(tree(path)).toEqual(tree(mirror));
    }
    expect(tree(path)).toEqual(tree(mirror));
    // Each kind was done, and refused where it can be, many times.
    expect(outcomes.size).toBeGreaterThan(27);
    for (const [outcome, count] of outcomes) expect(count, outcome).toBeGreaterThan(1);
    expect(server.counters).toMatchObject({ errors: 0, wrongForgets: 0 });
    for (const { file } of held) await fuse.release(file);
    expect(await handlesSettle(path)).toBe(0);
  }, 300_000);
});
