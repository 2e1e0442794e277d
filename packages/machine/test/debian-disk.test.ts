/**
 * Unmodified Debian with disks: a file system that the host's mke2fs has made, and a qcow2 image written as a device. What
 * the guest says of its bytes is what the host finds, by its own tools where they are. Left out where Debian's files were
 * never fetched (`npm start` does).
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BlockBackend, createQcow2 } from "@hyperfile/devices/disk";
import { NodeFile, openImage } from "@hyperfile/devices/node";
import { expect, it, onTestFinished } from "vitest";
import { qemuCheck, qemuImg, runQemuImg } from "../../devices/test/qemu-img.js";
import { riscvVirt } from "../src/index.js";
import { DEBIAN_PROMPT, debianImages } from "./debian.js";
import { Session, Terminal } from "./session.js";

const RAM = 256 << 20;
const MEBIBYTES = 8;
const images = debianImages();
const hasTools = spawnSync("mke2fs", ["-V"]).error === undefined;

const sha256 = async (disk: BlockBackend, length: number): Promise<string> => {
  const hash = createHash("sha256");
  const bytes = new Uint8Array(1 << 20);
  for (let at = 0; at < length; at += bytes.length) {
    await disk.read(at, [bytes]);
    hash.update(bytes);
  }
  return hash.digest("hex");
};

it.skipIf(images === undefined || !hasTools)(
  "Debian mounts ext4, writes, drops its caches and reads back what the host finds as well",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "hyperfile-debian-disk-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [ext4, plain, read] = ["ext4.raw", "plain.qcow2", "read.raw"].map((name) => join(folder, name));
    writeFileSync(ext4!, "");
    truncateSync(ext4!, 64 << 20);
    expect(spawnSync("mke2fs", ["-q", "-F", "-t", "ext4", ext4!]).status).toBe(0);
    const file = await NodeFile.open(plain!, { create: true });
    await createQcow2(file, { size: 2 ** 30 });
    await file.close();
    const [first, second] = [
      await openImage(ext4!, { format: "raw", isWritable: true }),
      await openImage(plain!, { format: "qcow2", isWritable: true }),
    ];

    const terminal = new Terminal();
    const errors: unknown[] = [];
    const machine = riscvVirt({
      ramBytes: RAM,
      boot: images!,
      console: terminal,
      drives: [first, second].map(({ disk }, index) => ({
        disk,
        serial: `disk-${index}`,
        onError: (error: unknown) => errors.push(error),
      })),
    });
    const session = new Session(machine, terminal);
    await session.until(DEBIAN_PROMPT);
    // What is typed is shown with the answers, in lines of the terminal's width.
    expect(await session.command("echo $(cat /sys/block/vd?/serial /sys/block/vdb/size)")).toMatch(
      /^disk-0 ?disk-1 ?2097152$/m,
    );
    expect(await session.command("cat /sys/block/vda/queue/write_cache")).toMatch(/^write back$/m);
    const digests: string[] = [];
    for (const command of [
      "mkdir -p /disk && mount -t ext4 /dev/vda /disk && cd /disk && echo 1 > /proc/sys/kernel/printk",
      `dd if=/dev/urandom of=file bs=64k count=${16 * MEBIBYTES} && sha256sum file`,
      "sync && echo 3 > /proc/sys/vm/drop_caches && sha256sum file",
      "dd if=file of=/dev/vdb bs=1M conv=fsync && echo 3 > /proc/sys/vm/drop_caches",
      `dd if=/dev/vdb bs=1M count=${MEBIBYTES} | sha256sum`,
      "cd / && umount /disk && mount -t ext4 /dev/vda /disk && sha256sum /disk/file; umount /disk",
    ])
      digests.push(...((await session.command(command)).match(/[0-9a-f]{64}/g) ?? []));
    expect([digests.length, new Set(digests).size]).toEqual([4, 1]);
    await session.stop();
    const { "virtio0:block": vda, "virtio1:block": vdb } = machine.board.counters();
    expect([vda!.errors, vdb!.errors, errors]).toEqual([0, 0, []]);
    expect(vda!.bytesRead).toBeGreaterThan(MEBIBYTES << 20);
    expect([vda!.flushes! > 0, vdb!.flushes! > 0]).toEqual([true, true]);
    machine.free();

    expect(await sha256(second.disk, MEBIBYTES << 20)).toBe(digests[0]);
    await first.close();
    await second.close();
    expect(spawnSync("e2fsck", ["-f", "-n", ext4!]).status).toBe(0);
    if (qemuImg === undefined) return;
    expect(qemuCheck(plain!)).toEqual({ corruptions: 0, leaks: 0, errors: 0 });
    const again = await openImage(plain!);
    const bytes = new Uint8Array(MEBIBYTES << 20);
    await again.disk.read(0, [bytes]);
    await again.close();
    writeFileSync(read!, bytes);
    truncateSync(read!, 2 ** 30);
    expect(runQemuImg("compare", "-f", "raw", "-F", "qcow2", read!, plain!)).toMatch(/identical/);
  },
  900_000,
);
