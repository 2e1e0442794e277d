import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findDebianArchive, parseDeb822Sources, parseListSources } from "../sources.js";
import { absentPackage, aptFailure, hostDebianArchive, networkSettings, parsePackageRecords } from "./apt.js";

describe("apt sources", () => {
  it("reads the one-line format with options and comments", () => {
    const text = `# deb http://old.example/debian sid main
deb [ arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg ] http://mirror.example/debian/ bookworm main contrib # ours
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main`;
    expect(parseListSources(text)).toEqual([
      {
        uri: "http://mirror.example/debian",
        suite: "bookworm",
        components: ["main", "contrib"],
        signedBy: "/usr/share/keyrings/debian-archive-keyring.gpg",
      },
      {
        uri: "http://mirror.example/debian-security",
        suite: "bookworm-security",
        components: ["main"],
        signedBy: undefined,
      },
    ]);
  });

  it("reads deb822 stanzas, one source for each archive and suite", () => {
    const text = `Types: deb deb-src
# a comment between fields
URIs: http://a.example/debian http://b.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /k.pgp

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: trixie
Components: main
`;
    const sources = parseDeb822Sources(text);
    expect(sources.map(({ uri, suite }) => `${uri} ${suite}`)).toEqual([
      "http://a.example/debian trixie",
      "http://a.example/debian trixie-updates",
      "http://b.example/debian trixie",
      "http://b.example/debian trixie-updates",
    ]);
    expect(sources[0].signedBy).toBe("/k.pgp");
  });

  it("keeps an inline key's lines", () => {
    const text = `Types: deb
URIs: http://a.example/debian
Suites: trixie
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abcd
 -----END PGP PUBLIC KEY BLOCK-----
`;
    expect(parseDeb822Sources(text)[0].signedBy).toBe(
      "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabcd\n-----END PGP PUBLIC KEY BLOCK-----\n",
    );
  });

  it("prefers the Debian archive to third parties that use its suite names", () => {
    const sources = parseListSources(`deb https://vendor.example/apt bookworm main
deb http://deb.debian.org/debian-security bookworm-security main
deb http://proxy.example:3142/debian bookworm main
deb http://proxy.example:3142/debian bookworm-updates main`);
    expect(findDebianArchive(sources)?.uri).toBe("http://proxy.example:3142/debian");
  });

  it("takes no other distribution for Debian", () => {
    const sources = parseListSources(
      "deb http://archive.ubuntu.com/ubuntu noble main\ndeb cdrom:[x]/ trixie main",
    );
    expect(findDebianArchive(sources)).toBeUndefined();
  });
});

describe("the host's archive", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "hyperfile-"));
    await mkdir(join(folder, "sources.list.d"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it("comes from both kinds of file, and from no other", async () => {
    await writeFile(join(folder, "sources.list"), "");
    await writeFile(
      join(folder, "sources.list.d/a.sources.save"),
      "Types: deb\nURIs: http://x/debian\nSuites: sid\n",
    );
    await writeFile(
      join(folder, "sources.list.d/debian.sources"),
      "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n",
    );
    const keyring = join(folder, "keyring.gpg");
    await writeFile(keyring, "");
    expect(await hostDebianArchive(folder, [keyring])).toEqual({
      uri: "http://m.example/debian",
      signedBy: keyring,
    });
  });

  it("is the public one on a host that has only Debian's keys", async () => {
    const keyring = join(folder, "keyring.gpg");
    await writeFile(keyring, "");
    expect(await hostDebianArchive(folder, [join(folder, "none"), keyring])).toEqual({
      uri: "http://deb.debian.org/debian",
      signedBy: keyring,
    });
  });

  it("is reported missing otherwise", async () => {
    await expect(hostDebianArchive(folder, [])).rejects.toMatchObject({ code: "E_NO_DEBIAN_SOURCE" });
  });
});

describe("apt's output", () => {
  it("gives the network settings of the host and nothing else", () => {
    const dump = `APT::Update::Post-Invoke:: "rm -f /x";
Acquire::http::Proxy "http://proxy.example:3142";
Acquire::AllowInsecureRepositories "1";
Acquire::IndexTargets::deb::Packages::MetaKey "x";
Dir::Cache "var/cache/apt";`;
    expect(networkSettings(dump)).toBe('Acquire::http::Proxy "http://proxy.example:3142";');
  });

  it("parses package records", () => {
    const text = `Package: linux-image-riscv64
Version: 6.12.1-1
Depends: linux-image-6.12.1-riscv64 (= 6.12.1-1), kmod | other
Pre-Depends: base-files (>= 12)
Priority: required
Size: 1436
SHA256: abcd
`;
    expect(parsePackageRecords(text)).toEqual([
      {
        name: "linux-image-riscv64",
        version: "6.12.1-1",
        depends: ["linux-image-6.12.1-riscv64", "kmod"],
        preDepends: ["base-files"],
        priority: "required",
        size: 1436,
        sha256: "abcd",
      },
    ]);
  });

  it("tells the package that is not there from the rest", () => {
    const absent = (output: string) => absentPackage(aptFailure("apt-get", 100, output).message);
    expect(absent("Reading package lists...\nE: Unable to locate package nosuch\n")).toBe("nosuch");
    expect(absent("E: Package 'mail-agent' has no installation candidate\n")).toBe("mail-agent");
    expect(absent("E: Unable to correct problems, you have held broken packages.\n")).toBeUndefined();
  });

  it("tells the network from the signature and the rest", () => {
    const network = aptFailure(
      "apt-get",
      100,
      "E: Failed to fetch http://m/InRelease  Temporary failure resolving 'm'\n",
    );
    expect(network.code).toBe("E_NETWORK");
    expect(network.message).toContain("http://m/InRelease");
    const key = aptFailure(
      "apt-get",
      100,
      "W: GPG error: http://m trixie: NO_PUBKEY 6ED0E7B82643E131\nE: bad\n",
    );
    expect(key.code).toBe("E_APT");
    expect(key.message).toContain("NO_PUBKEY");
    expect(aptFailure("apt-get", 100, "E: Could not get lock\n").code).toBe("E_APT");
  });
});
