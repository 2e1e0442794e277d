import { describe, expect, it } from "vitest";
import { silentProgress } from "../progress.js";
import { BuildLog } from "./build-log.js";

const work = {
  archive: 16 << 20,
  unpacked: new Map([["libc6", 5 << 20]]),
  packages: new Set(["libc6", "adduser"]),
};
const log = (text: string) => {
  const made = new BuildLog(work, silentProgress);
  // In pieces, as a console has it.
  for (let at = 0; at < text.length; at += 7) made.write(new TextEncoder().encode(text.slice(at, at + 7)));
  return made;
};
const failure = (text: string) => log(text).failure("it ended before it was done");

describe("the log of a build", () => {
  it("tells how far it is, up to all of it", () => {
    const shares: number[] = [];
    const text = `hyperfile-build: step make the file system\r
hyperfile-build: step lay out packages\r
Unpacking libc6:riscv64 (2.41-12) ...\r
Unpacking libc6:riscv64 (2.41-12) over (2.41-12) ...\r
Unpacking unknown (3.1) ...\r
Setting up libc6:riscv64 (2.41-12) ...\r
Setting up adduser (3.1) ...\r
hyperfile-build: end 0\r
`;
    const made = new BuildLog(work, { ...silentProgress, update: (share) => shares.push(share) });
    made.hasRead(10 << 20);
    // With what the kernel reads ahead.
    made.hasRead(10 << 20);
    made.hasRead(1);
    made.write(new TextEncoder().encode(text));
    expect(made.failure("it ended")).toBeUndefined();
    expect(shares).toHaveLength(5);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares.at(-1)).toBe(1);
  });

  it("names the package that can't be configured", () => {
    const text = `hyperfile-build: step configure packages
Setting up libc6:riscv64 (2.41-12) ...
dpkg: error processing package libc6:riscv64 (--configure):
 installed libc6:riscv64 package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:
 libc6:riscv64
hyperfile-build: end 1
`;
    expect(failure(text)).toMatchObject({
      code: "E_IMAGE_BUILD",
      message:
        "dpkg can't configure the package libc6: installed libc6:riscv64 package post-installation script subprocess returned error exit status 3",
    });
  });

  it("names the package that can't be unpacked, which dpkg calls by its file", () => {
    const text = `hyperfile-build: step unpack packages
hyperfile-build: group libc6 adduser
Unpacking libc6:riscv64 (2.41-12) ...
dpkg: error processing archive /run/packages/1.deb (--unpack):
 cannot copy extracted data: failed to write (No space left on device)
hyperfile-build: end 1
`;
    expect(failure(text)?.message).toBe(
      "dpkg can't unpack the package adduser: cannot copy extracted data: failed to write (No space left on device)",
    );
  });

  it("names the step, and what was said last, of any other failure", () => {
    expect(
      failure(
        "hyperfile-build: step make the file system\nmke2fs: no room\nhyperfile-build: end 1\n[  7.1] reboot: x\n",
      )?.message,
    ).toBe("the machine can't make the file system: mke2fs: no room");
    expect(failure("hyperfile-build: step write the disk\n")?.message).toBe(
      "the machine can't write the disk: it ended before it was done",
    );
    expect(failure("")?.message).toBe("the machine can't start: it ended before it was done");
  });

  it("keeps no more than there is room for", () => {
    const made = log("");
    const line = new TextEncoder().encode(`${"x".repeat(1 << 20)}\n`);
    for (let count = 0; count < 20; count++) made.write(line);
    expect(made.text.length).toBeLessThanOrEqual(8 << 20);
  });
});
