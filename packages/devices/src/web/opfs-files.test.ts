/** Files by name, such as snapshots: the old one or the new one, whole, whatever happens on the way. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { FakeOrigin, type FakeTab } from "../../test/private-files.js";

const NAME = "snapshots/mine";
const bytes = (mark: number) => [0, 1, 2].map((each) => new Uint8Array(50_000 + each).fill(mark + each));
const whole = (mark: number) => Buffer.concat(bytes(mark));

let origin: FakeOrigin;
let tab: FakeTab;
beforeEach(async () => {
  origin = new FakeOrigin();
  tab = await origin.tab();
});
afterEach(() => vi.unstubAllGlobals());

const write = (mark: number, name = NAME) => tab.web.writeOpfs(name, bytes(mark));
const read = async (name = NAME) => Buffer.from(await tab.web.readOpfs(name));
const leftovers = () => origin.paths().filter((path) => path.endsWith(".in-progress"));

it("writes, reads, replaces, lists and removes", async () => {
  await write(1);
  expect((await read()).equals(whole(1))).toBe(true);
  await write(5);
  expect((await read()).equals(whole(5))).toBe(true);
  await tab.web.writeOpfs("snapshots/empty", []);
  expect(await read("snapshots/empty")).toHaveLength(0);
  await tab.web.writeOpfs("snapshots/below/other", [Uint8Array.of(1)]);
  expect(await tab.web.listOpfs("snapshots")).toEqual([
    { name: "snapshots/empty", bytes: 0, at: expect.any(Number) },
    { name: NAME, bytes: whole(5).length, at: expect.any(Number) },
  ]);
  expect(await tab.web.listOpfs()).toEqual([]);
  expect(await tab.web.listOpfs("none/such")).toEqual([]);
  expect(await tab.web.removeOpfs(NAME)).toBe(true);
  expect(await tab.web.removeOpfs(NAME)).toBe(false);
  expect(await tab.web.removeOpfs("none/such")).toBe(false);
  await expect(read()).rejects.toThrow(
    /^snapshots\/mine: can't read the file: there is no such file in this browser$/,
  );
  await expect(read("none/such")).rejects.toMatchObject({ code: "E_DISK_IO" });
  for (const name of ["", "../x", "a//b"]) {
    await expect(write(1, name)).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
    await expect(read(name)).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
    await expect(tab.web.removeOpfs(name)).rejects.toMatchObject({ code: "E_IMAGE_FORMAT" });
  }
  await expect(tab.web.removeOpfs("snapshots")).rejects.toMatchObject({ code: "E_DISK_IO" });
  expect(origin.paths()).toEqual(["snapshots/empty", "snapshots/below/other"]);
});

it("leaves the old one whole where a call fails, and nothing else", async () => {
  await write(1);
  const begin = origin.calls.length;
  await write(1);
  const calls = origin.calls.length - begin;
  let failed = 0;
  for (let failing = 1; failing <= calls; failing++) {
    const before = origin.calls.length;
    origin.fails = (_, count) => (count === before + failing ? "QuotaExceededError" : undefined);
    const result = await write(9).catch((error) => error);
    if (result !== undefined) {
      failed++;
      expect(result).toMatchObject({
        code: "E_DISK_FULL",
        message: expect.stringMatching(/no more room; remove.*$/),
      });
      expect((await read()).equals(whole(1))).toBe(true);
    }
    expect(leftovers()).toEqual([]);
    origin.fails = () => undefined;
    await write(1);
  }
  expect(failed).toBeGreaterThan(calls / 2);
});

it.each([
  ["the tab is killed", false],
  ["the power goes", true],
])("is the old one or the new one, whichever call is the last before %s", async (_, losesPower) => {
  await write(1);
  const begin = origin.calls.length;
  await write(9);
  const calls = origin.calls.length - begin;
  const seen = { old: 0, new: 0, left: 0 };
  for (let last = 0; last < calls; last++) {
    origin = new FakeOrigin();
    tab = await origin.tab();
    await write(1);
    tab.killedAfter = origin.calls.length + last;
    expect(await tab.run(() => write(9))).toBe("killed");
    if (losesPower) origin.losePower();
    tab = await origin.tab();
    const there = await read();
    const is = there.equals(whole(1)) ? "old" : there.equals(whole(9)) ? "new" : "broken";
    expect(is).not.toBe("broken");
    seen[is as "old" | "new"]++;
    expect(await tab.web.listOpfs("snapshots")).toHaveLength(1);
    seen.left += leftovers().length;
    await write(5, "snapshots/another");
    expect(leftovers()).toEqual([]);
    expect((await read()).equals(there)).toBe(true);
  }
  expect(seen.old).toBeGreaterThan(3);
  expect(seen.left).toBeGreaterThan(3);
  // What follows the move is the lock's, which the browser takes back by itself.
  expect(seen.new + seen.old).toBe(calls);
});

it("leaves alone what another tab is writing", async () => {
  const [one, two] = [tab, await origin.tab()];
  let others = 0;
  origin.before = async (call) => {
    if (others > 0 || call !== "move") return;
    others = leftovers().length;
    two.enter();
    await two.web.writeOpfs("snapshots/two", [Uint8Array.of(2)]);
    one.enter();
  };
  one.enter();
  await write(1);
  expect(others).toBe(1);
  expect(origin.paths().sort()).toEqual([NAME, "snapshots/two"]);
});

it("removes what begins with a dot and ends in .in-progress, and nothing else", async () => {
  await write(1);
  const folder = origin.root.entries.get("snapshots");
  if (folder?.kind !== "directory") throw new Error("there is no folder");
  const file = folder.entries.get("mine")!;
  for (const name of [".x.in-progress", ".in-progress", ".other", "y.in-progress"])
    folder.entries.set(name, file);
  await write(2, "snapshots/more");
  expect([...folder.entries.keys()]).toEqual(["mine", ".other", "y.in-progress", "more"]);
});

it("says why it can't replace or remove a disk that is open, or move files", async () => {
  const disk = await tab.web.openOpfsDisk("disks/open", { format: "raw", size: 4096 });
  const locked = {
    code: "E_IMAGE_LOCKED",
    message: expect.stringMatching(/^disks\/open: the disk is in use by /),
  };
  await expect(write(1, "disks/open")).rejects.toMatchObject(locked);
  await expect(tab.web.removeOpfs("disks/open")).rejects.toMatchObject(locked);
  await disk.close();
  await write(1, "disks/open");
  origin.hasMove = false;
  await expect(write(2)).rejects.toThrow(
    /^snapshots\/mine: this browser can't move private files, .*; use a newer one$/,
  );
  expect(origin.paths()).toEqual(["disks/open"]);
  tab = await origin.tab();
  vi.stubGlobal("navigator", { storage: navigator.storage });
  await expect(write(3)).rejects.toThrow(/^this page has no locks .*: open it by https/);
});

it("reads one that is replaced meanwhile as the new one", async () => {
  await write(1);
  let isReplaced = false;
  origin.before = async (call) => {
    if (isReplaced || call !== "arrayBuffer") return;
    isReplaced = true;
    await write(9);
  };
  expect((await read()).equals(whole(9))).toBe(true);
  expect(isReplaced).toBe(true);
});
