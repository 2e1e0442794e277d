/**
 * Unmodified Debian with a folder of the host's, which its own driver mounts: what the guest writes is the host's, what the host
 * writes is the guest's at once, and files without names, mapped files and snapshots are what they should be. Left out
 * where Debian's files were never fetched (`npm start` does).
 */
import { createHash, randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LinuxFolder } from "@hyperfile/devices/node";
import { expect, it, onTestFinished } from "vitest";
import { riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";
import { DEBIAN_PROMPT, debianImages } from "./debian.js";
import { Session, Terminal } from "./session.js";

const RAM = 256 << 20;
const images = debianImages();
const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

it.skipIf(images === undefined || process.platform !== "linux")(
  "Debian mounts a folder of the host's, and both see what the other writes",
  async () => {
    const path = mkdtempSync(join(tmpdir(), "hyperfile-debian-share-"));
    onTestFinished(() => rmSync(path, { recursive: true, force: true }));
    const big = randomBytes(4 << 20);
    writeFileSync(join(path, "big"), big);
    writeFileSync(join(path, "note"), "one\n");
    symlinkSync("/etc/hostname", join(path, "link"));
    mkdirSync(join(path, "d"));
    for (let index = 0; index < 300; index++) writeFileSync(join(path, "d", `file-${index}`), "");
    const folder = await LinuxFolder.open(path);
    const readOnly = await LinuxFolder.open(path, { isReadOnly: true });
    const errors: unknown[] = [];
    const onError = (error: unknown) => errors.push(error);
    const options = {
      ramBytes: RAM,
      boot: images!,
      shares: [
        { tag: "work", folder, onError },
        { tag: "safe", folder: readOnly, uid: 1000, gid: 100, onError },
      ],
    };
    const terminal = new Terminal();
    const machine = riscvVirt({ ...options, console: terminal });
    const session = new Session(machine, terminal);
    const sh = (command: string): Promise<string> => session.command(command);
    await session.until(DEBIAN_PROMPT);
    await sh("stty cols 500; echo 1 > /proc/sys/kernel/printk");
    await sh("mkdir -p /w /s; mount -t virtiofs work /w && mount -t virtiofs safe /s");

    // What the host has, the guest reads.
    expect(await sh("sha256sum /w/big")).toContain(digestOf(big));
    expect(await sh("cmp /w/big /s/big && echo same")).toMatch(/^same$/m);
    expect(await sh("ls -ln /w/note /s/note")).toMatch(/^-rw-r--r--\s+1 0\s+0 .*\/w\/note$/m);
    expect(await sh("ls -ln /s/note")).toMatch(/^-rw-r--r--\s+1 1000\s+100 .*\/s\/note$/m);
    expect(await sh("ls /w/d | wc -l; ls -l /w/d | wc -l")).toMatch(/^300\n301$/m);
    expect(await sh("readlink /w/link; cat /w/link")).toMatch(/^\/etc\/hostname\nhyperfile$/m);

    // What the guest writes, the host has; what it may not write, it does not.
    await sh("dd if=/w/big of=/w/copy bs=64k && mkdir -p /w/new/deep && mv /w/copy /w/new/deep/copy");
    expect(digestOf(readFileSync(join(path, "new/deep/copy")))).toBe(digestOf(big));
    await sh("echo guest > /w/by-guest; chmod 640 /w/by-guest; ln /w/by-guest /w/second; rm /w/by-guest");
    expect(readFileSync(join(path, "second"), "utf8")).toBe("guest\n");
    expect(statSync(join(path, "second")).mode & 0o777).toBe(0o640);
    expect(await sh("echo x > /s/no")).toMatch(/Read-only file system/);
    expect(await sh("mknod /w/null c 1 3")).toMatch(/not permitted/);
    expect(await sh("df -k /w | tail -n 1")).toMatch(/\/w$/m);

    // The host changes a file at the same size and time: the guest sees it at once, by a name and by an open file.
    const note = join(path, "note");
    utimesSync(note, 5, 5);
    expect(await sh("exec 5< /w/note; cat /w/note")).toMatch(/^one$/m);
    writeFileSync(note, "two\n");
    utimesSync(note, 5, 5);
    expect(await sh("cat /w/note; cat <&5")).toMatch(/^two\ntwo$/m);
    writeFileSync(note, "much longer than it was\n");
    expect(await sh("cat /w/note; exec 5<&-")).toMatch(/^much longer than it was$/m);
    writeFileSync(join(path, "fresh"), "fresh\n");
    rmSync(join(path, "d", "file-7"));
    expect(await sh("cat /w/fresh; ls /w/d/file-7; ls /w/d | wc -l")).toMatch(
      /^fresh\n.*No such file.*\n299$/m,
    );
    // Programs are mapped: one runs from the folder.
    writeFileSync(join(path, "busybox"), "");
    await sh("cat /bin/busybox > /w/busybox; chmod 755 /w/busybox");
    expect(await sh("/w/busybox echo it runs")).toMatch(/^it runs$/m);

    // A file without a name keeps its bytes, and appending goes on where the host's end is.
    expect(
      await sh("echo kept > /w/gone; exec 6< /w/gone; rm /w/gone; ls /w/gone; cat <&6; exec 6<&-"),
    ).toMatch(/No such file[^\n]*\nkept$/m);
    expect(existsSync(join(path, "gone"))).toBe(false);
    await sh("exec 7>> /w/log; echo a >&7");
    writeFileSync(join(path, "log"), "host\n", { flag: "a" });
    await sh("echo b >&7; exec 7>&-; sync");
    expect(readFileSync(join(path, "log"), "utf8")).toBe("a\nhost\nb\n");

    // Saved with open files and a working folder, and gone on with in another machine.
    await sh("cd /w/d; exec 8< /w/big; exec 9< /w/fresh; head -c 1000000 <&8 | sha256sum");
    machine.pause();
    const drain = machine.drain();
    await drain.drained;
    const { pieces } = encodeMachine(machine.state, await zstdCodec());
    const saved = Buffer.concat(pieces);
    drain.release();
    machine.resume();
    await session.stop();
    machine.free();
    rmSync(join(path, "fresh"));
    renameSync(join(path, "d", "file-8"), join(path, "d", "renamed"));

    const second = new Terminal();
    const twin = riscvVirt({ ...options, console: second });
    restoreMachine(saved, twin.state, await zstdCodec());
    const goesOn = new Session(twin, second);
    const here = await goesOn.command("ls | wc -l; ls renamed; cat <&9; cat <&8 | sha256sum");
    expect(here).toMatch(/^299\nrenamed$/m);
    expect(here).toMatch(/Stale file handle/);
    expect(here).toContain(digestOf(big.subarray(1_000_000)));
    await goesOn.command(
      "cd /; exec 8<&- 9<&-; umount /w && mount -t virtiofs work /w && echo again > /w/again",
    );
    expect(readFileSync(join(path, "again"), "utf8")).toBe("again\n");
    await goesOn.stop();
    const counters = twin.board.counters();
    expect([counters["virtio0:fs"]!.rejects, counters["virtio0:fs"]!.wrongForgets, errors]).toEqual([
      0,
      0,
      [],
    ]);
    twin.free();
    folder.close();
    readOnly.close();
  },
  1_800_000,
);
