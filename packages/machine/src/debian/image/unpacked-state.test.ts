import { describe, expect, it } from "vitest";
import { configurationFiles, isTold, type LaidOutPackage, unpackedState } from "./unpacked-state.js";

const member = (text: string, mode = 0o644) => ({ mode, bytes: new TextEncoder().encode(text) });
const sum = "0".repeat(32);

const shared: LaidOutPackage = {
  control: new Map([
    [
      "control",
      member("Package: libx\nArchitecture: riscv64\nMulti-Arch: same\nVersion: 1\nDescription: x\n y\n"),
    ],
    ["md5sums", member(`${sum}  usr/lib/libx.so\n`)],
    ["triggers", member("# of libraries\nactivate-noawait ldconfig\n")],
  ]),
  paths: ["/.", "/usr", "/usr/lib", "/usr/lib/libx.so"],
  digests: new Map(),
};
const waiting: LaidOutPackage = {
  control: new Map([
    ["control", member("Package: waiter\nArchitecture: all\nMulti-Arch: foreign\nVersion: 2\n")],
    ["conffiles", member("/etc/waiter.conf\n/etc/absent.conf\nremove-on-upgrade /etc/old.conf\n")],
    ["postinst", member("#!/bin/sh\n", 0o755)],
    [
      "triggers",
      member("interest wait\ninterest-noawait quick\ninterest-await /usr/a\ninterest-noawait /usr/b # c\n"),
    ],
  ]),
  paths: ["/.", "/etc", "/etc/waiter.conf"],
  digests: new Map([["/etc/waiter.conf", sum]]),
};

const files = (packages: readonly LaidOutPackage[]) =>
  new Map(
    unpackedState(packages).map((entry) => [
      entry.path.replace(/^var\/lib\/dpkg\/?/, ""),
      "bytes" in entry ? new TextDecoder().decode(entry.bytes) : entry.kind,
    ]),
  );

describe("the state of packages that are laid out", () => {
  it("is that of an empty database where there are none", () => {
    expect([...files([])]).toEqual([
      ["", "directory"],
      ["info", "directory"],
      ["triggers", "directory"],
      ["updates", "directory"],
      ["info/format", "1\n"],
      ["status", ""],
    ]);
  });

  it("has a stanza of each, unpacked, with the digests of its configuration files", () => {
    expect(files([shared, waiting]).get("status")).toBe(
      `Package: libx
Architecture: riscv64
Multi-Arch: same
Version: 1
Description: x
 y
Status: install ok unpacked

Package: waiter
Architecture: all
Multi-Arch: foreign
Version: 2
Status: install ok unpacked
Conffiles:
 /etc/waiter.conf ${sum}
 /etc/absent.conf newconffile

`,
    );
  });

  it("has what each brings, by a name with the architecture where others may be beside it", () => {
    const found = files([shared, waiting]);
    expect(found.get("info/libx:riscv64.list")).toBe("/.\n/usr\n/usr/lib\n/usr/lib/libx.so\n");
    expect([...found.keys()].filter((name) => /^info\/(?:libx|waiter)/.test(name)).sort()).toEqual([
      "info/libx:riscv64.list",
      "info/libx:riscv64.md5sums",
      "info/libx:riscv64.triggers",
      "info/waiter.conffiles",
      "info/waiter.list",
      "info/waiter.md5sums",
      "info/waiter.postinst",
      "info/waiter.triggers",
    ]);
    expect(found.get("info/waiter.md5sums")).toBe(`${sum}  etc/waiter.conf\n`);
    const script = unpackedState([waiting]).find(({ path }) => path.endsWith("waiter.postinst"));
    expect(script).toMatchObject({ kind: "file", mode: 0o755 });
  });

  it("has who waits for which trigger", () => {
    const found = files([shared, waiting]);
    expect(found.get("triggers/wait")).toBe("waiter\n");
    expect(found.get("triggers/quick")).toBe("waiter/noawait\n");
    expect(found.get("triggers/File")).toBe("/usr/a waiter\n/usr/b waiter/noawait\n");
    expect(found.has("triggers/ldconfig")).toBe(false);
  });

  it("is not known of a package that has a script before unpacking", () => {
    expect(isTold(waiting.control)).toBe(true);
    expect(isTold(new Map([...waiting.control, ["preinst", member("#!/bin/sh\n")]]))).toBe(false);
    expect(configurationFiles(waiting.control)).toEqual(["/etc/waiter.conf", "/etc/absent.conf"]);
  });

  it("can't be told of a control file without a name", () => {
    const nameless = { ...shared, control: new Map([["control", member("Version: 1\n")]]) };
    expect(() => unpackedState([nameless])).toThrow("names no package");
  });
});
