import { describe, expect, it } from "vitest";
import { checkImageSettings, settingsFiles, wantedPackages } from "./settings.js";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk me@host";
const archive = { uri: "http://deb.debian.org/debian", signedBy: undefined };

describe("settings of a system image", () => {
  it("are trixie's where nothing is said", () => {
    const settings = checkImageSettings({});
    expect(settings).toMatchObject({ suite: "trixie", hostname: "debian", bytes: 2 ** 32, packages: [] });
    expect(wantedPackages(settings, archive)).toContain("systemd-sysv");
  });

  it("are the same ones however they are given, with what else the caller has", () => {
    const given = { size: 2 ** 32, hostname: "debian", bytes: 2 ** 32, user: undefined, rebuild: true };
    expect(JSON.stringify(checkImageSettings(given))).toBe(JSON.stringify(checkImageSettings({})));
  });

  it("choose the packages", () => {
    const wanted = (given: object) => wantedPackages(checkImageSettings(given), archive);
    expect(wanted({ variant: "required" })).toEqual(["?priority(required)"]);
    expect(wanted({ variant: "required", packages: ["gcc", "libc6-dev"], sshKey: key })).toEqual([
      "?priority(required)",
      "openssh-server",
      "gcc",
      "libc6-dev",
    ]);
  });

  it("bring certificates only for an archive that apt asks for them", () => {
    const wanted = (uri: string) => wantedPackages(checkImageSettings({}), { ...archive, uri });
    expect(wanted("http://deb.debian.org/debian")).not.toContain("ca-certificates");
    expect(wanted("https://deb.debian.org/debian")).toContain("ca-certificates");
  });

  it.each([
    [{ suite: "../x" }, '"../x" is no suite'],
    [{ variant: "all" as "standard" }, '"all" is no variant: there are required, standard'],
    [{ bytes: 2 ** 20 }, "give 512M to 16T"],
    [{ bytes: 2 ** 30 + 1 }, "a multiple of 4K"],
    [{ packages: ["gcc", "a b"] }, '"a b" is no name of a package'],
    [{ packages: ["$(reboot)"] }, "is no name of a package"],
    [{ packages: ["-o"] }, "is no name of a package"],
    [{ hostname: "a_b" }, '"a_b" is no hostname'],
    [{ hostname: "x".repeat(65) }, "is no hostname"],
    [{ user: "Me" }, '"Me" is no user'],
    [{ user: "me; reboot" }, "is no user"],
    [{ user: "root" }, "root is there anyway"],
    [{ sshKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nxx" }, "give the .pub file"],
    [{ sshKey: `${key}\nnonsense` }, 'begins with "nonsense"'],
    [{ sshKey: "" }, "give the .pub file"],
  ])("refuse %j in one line", (given, message) => {
    let error: unknown;
    try {
      checkImageSettings(given);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({ code: "E_IMAGE_SETTING", message: expect.stringContaining(message) });
    expect((error as Error).message).not.toContain("\n");
  });

  const files = (given: object, from = archive) =>
    new Map(
      settingsFiles(checkImageSettings(given), from, "the-uuid", Buffer.from("agent")).map((entry) => [
        entry.path,
        "bytes" in entry
          ? new TextDecoder().decode(entry.bytes)
          : "target" in entry
            ? entry.target
            : entry.kind,
      ]),
    );

  it("become the image's files", () => {
    const all = files({ hostname: "box.example.org" });
    expect(all.get("etc/hostname")).toBe("box.example.org\n");
    expect(all.get("etc/hosts")).toContain("127.0.1.1\tbox.example.org box\n");
    expect(all.get("etc/fstab")).toBe("UUID=the-uuid / ext4 errors=remount-ro 0 1\n");
    expect(all.get("etc/machine-id")).toBe("");
  });

  it("have the guest agent with them, which systemd starts where there is a device for it", () => {
    const all = files({});
    expect(all.get("usr/sbin/hyperfile-agent")).toBe("agent");
    const unit = "etc/systemd/system/hyperfile-agent.service";
    expect(all.get(unit)).toMatch(
      /^ConditionPathExists=\/dev\/vsock$.*^ExecStart=\/usr\/sbin\/hyperfile-agent$/ms,
    );
    expect(all.get("etc/systemd/system/multi-user.target.wants/hyperfile-agent.service")).toBe(`/${unit}`);
  });

  it("name the suites that the archive has", () => {
    const suites = (given: object, from = archive) =>
      [
        ...files(given, from)
          .get("etc/apt/sources.list.d/debian.sources")!
          .matchAll(/^Suites: (.*)$/gm),
      ].map(([, names]) => names);
    expect(suites({})).toEqual(["trixie trixie-updates", "trixie-security"]);
    expect(suites({ suite: "sid" })).toEqual(["sid"]);
    // Nobody knows what else a mirror has.
    expect(suites({}, { ...archive, uri: "http://mirror.example/debian" })).toEqual([
      "trixie trixie-updates",
    ]);
  });
});
