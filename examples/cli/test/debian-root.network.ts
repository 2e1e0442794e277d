/**
 * A whole system on a disk takes over from Debian's initial file system (`root=`). Left out where Debian's files were
 * never fetched (`npm start` does), and without mke2fs on the host. It boots Debian twice, so it is no part of the default
 * suite: `npx vitest run --config vitest.network.config.ts debian-root`.
 */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { packInitramfs } from "@hyperfile/devices/image";
import { openImage } from "@hyperfile/devices/node";
import { expect, it, onTestFinished } from "vitest";
import { userCacheFolder } from "../../../packages/machine/src/debian/index.js";
import { initScript } from "../../../packages/machine/src/debian/init-script.js";
import { riscvVirt } from "../../../packages/machine/src/index.js";
import { debianImages } from "../../../packages/machine/test/debian.js";
import { Session, Terminal } from "../../../packages/machine/test/session.js";

const images = debianImages();
const busybox = join(userCacheFolder(), "debian-trixie-riscv64", "busybox");
const hasTools = spawnSync("mke2fs", ["-V"]).error === undefined && existsSync(busybox);
const UUID = "11111111-2222-4333-8444-555555555555";

/** The cached initial file system with the init script of today. */
function imagesOfToday(append: string) {
  const { initrd, ...rest } = images!;
  const init = packInitramfs([
    { path: "init", kind: "file", mode: 0o755, bytes: new TextEncoder().encode(initScript) },
  ]);
  const start = Math.ceil(initrd!.bytes.length / 4) * 4;
  const bytes = new Uint8Array(start + init.length);
  bytes.set(initrd!.bytes);
  bytes.set(init, start);
  return { ...rest, initrd: { name: "initramfs", bytes }, append: `console=ttyS0 quiet ${append}` };
}

it.skipIf(images === undefined || !hasTools)(
  "a system on a disk is given the machine, and a disk that is not there gives a shell",
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "hyperfile-root-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const tree = join(folder, "tree");
    for (const name of ["", "bin", "sbin", "dev", "proc", "sys"]) mkdirSync(join(tree, name));
    copyFileSync(busybox, join(tree, "bin/busybox"));
    writeFileSync(
      join(tree, "sbin/init"),
      `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
echo "system of process $$: $(/bin/busybox awk '$2 == "/" { print $1, $3, substr($4, 1, 2) }' /proc/mounts | /bin/busybox tail -n 1)"
echo "devices: $(/bin/busybox ls -d /dev/vda); left: $(/bin/busybox ls -d /init /system 2> /dev/null)"
/bin/busybox poweroff -f
`,
    );
    for (const name of ["bin/busybox", "sbin/init"]) chmodSync(join(tree, name), 0o755);
    const path = join(folder, "disk.raw");
    writeFileSync(path, "");
    truncateSync(path, 16 << 20);
    expect(spawnSync("mke2fs", ["-q", "-F", "-t", "ext4", "-U", UUID, "-d", tree, path]).status).toBe(0);

    const boot = async (append: string, use: (session: Session, terminal: Terminal) => Promise<void>) => {
      const image = await openImage(path, { format: "raw", isWritable: true });
      const terminal = new Terminal();
      const machine = riscvVirt({
        ramBytes: 256 << 20,
        boot: imagesOfToday(append),
        console: terminal,
        devices: ["entropy"],
        drives: [{ disk: image.disk }],
      });
      try {
        await use(new Session(machine, terminal), terminal);
      } finally {
        machine.free();
        await image.close();
      }
    };
    await boot(`root=UUID=${UUID}`, async (session, terminal) => {
      await session.until("left:");
      await session.until("\n");
      expect(terminal.text).toMatch(/system of process 1: \/dev\/vda ext4 ro\r?\n/);
      expect(terminal.text).toContain("devices: /dev/vda; left: ");
      expect(terminal.text).not.toMatch(/left: +\//);
    });
    await boot("root=/dev/vdx", async (session, terminal) => {
      await session.until("# ");
      expect(terminal.text).toContain(
        "can't mount the root /dev/vdx: give the root= of a disk that has a system",
      );
      await session.stop();
    });
  },
  900_000,
);
