/** Folders of a machine: their slots, and what does not go together. */
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MemoryBackend } from "@hyperfile/devices/disk";
import { LinuxFolder } from "@hyperfile/devices/node";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";

const code = Uint8Array.of(0x6f, 0, 0, 0);
let path: string;
let folder: LinuxFolder;
beforeAll(async () => {
  path = mkdtempSync(join(tmpdir(), "hyperfile-shares-"));
  writeFileSync(join(path, "file"), "content");
  folder = await LinuxFolder.open(path);
});
afterAll(() => {
  folder.close();
  rmSync(path, { recursive: true });
});

const machineWith = (options: Partial<RiscvVirtOptions>) =>
  riscvVirt({ ramBytes: 1 << 20, boot: { code }, instructions: 100, ...options });

it("have the slots behind the disks, and their tags in the configuration space", () => {
  const machine = machineWith({
    drives: [{ disk: new MemoryBackend(512) }],
    shares: [{ tag: "work", folder }],
  });
  const base = 0x10002000;
  expect(machine.board.bus.read(base + 8, 4)).toBe(26);
  const config = Array.from({ length: 40 }, (_, at) => machine.board.bus.read(base + 0x100 + at, 1));
  expect(config).toEqual([...Buffer.from("work"), ...Array(32).fill(0), 1, 0, 0, 0]);
  expect(Object.keys(machine.board.counters())).toContain("virtio1:fs");
  machine.free();
});

it("are restored where folders of the same tags are, and cloned with views of their own", async () => {
  const machine = machineWith({ shares: [{ tag: "work", folder }] });
  await machine.run();
  const codec = await zstdCodec();
  const saved = Buffer.concat(encodeMachine(machine.state, codec).pieces);
  const twin = machine.clone();
  expect(twin.board.counters()["virtio0:fs"]!.requests).toBe(0);
  for (const [shares, message] of [
    [[{ tag: "other", folder }], 'tag must be "other" of the folder that is there'],
    [[], "devices"],
  ] as const) {
    const other = machineWith({ shares });
    expect(() => restoreMachine(saved, other.state, codec)).toThrow(message);
    other.free();
  }
  const again = machineWith({ shares: [{ tag: "work", folder }] });
  restoreMachine(saved, again.state, codec);
  for (const each of [machine, twin, again]) each.free();
  const below = readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${path}/`);
    } catch {
      return false;
    }
  });
  expect(below).toEqual([]);
});

it("what does not go together is refused", () => {
  const refused = (shares: RiscvVirtOptions["shares"], error: object) =>
    expect(() => machineWith({ shares: shares! })).toThrow(expect.objectContaining(error));
  refused(
    [
      { tag: "a", folder },
      { tag: "a", folder },
    ],
    {
      code: "E_SHARE",
      message: "two folders have the tag a: give each its own",
    },
  );
  for (const tag of ["", "x".repeat(37), "a\nb"])
    refused([{ tag, folder }], {
      code: "E_SHARE_OPTION",
      message: `${JSON.stringify(tag)} is no tag: use 1 to 36 bytes, in one line`,
    });
  refused([{ tag: "a", folder, uid: -1 }], {
    code: "E_SHARE_OPTION",
    message: "-1 is no uid: use a number from 0 to 4294967294",
  });
  const many = Array.from({ length: 6 }, (_, index) => ({ tag: `t${index}`, folder }));
  refused(many, { code: "E_VIRTIO_SLOTS" });
});
