import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { builderInit, buildScript } from "./build-script.js";
import { checkImageSettings } from "./settings.js";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk me@host";
const BLOCK = 65536;
const place = (name: string, block: number, bytes: number) => ({ name, offset: block * BLOCK, bytes });
const [a, b, c] = [place("a", 0, BLOCK + 1), place("b", 2, BLOCK), place("c", 3, 1)];
const script = (given: object) =>
  buildScript({
    settings: checkImageSettings(given),
    uuid: "00000000-0000-4000-8000-000000000000",
    batches: [
      { groups: [[a, b]], configure: ["a", "x"] },
      { groups: [[c]], configure: ["b", "c"] },
    ],
  });

describe("the script of a build", () => {
  it("lays out, then takes each package from its place, and configures a batch before it unpacks the next", () => {
    const lines = script({}).split("\n");
    const work = lines.filter((line) => /^take \d|^tar |^cp .*database|--unpack|--configure/.test(line));
    expect(work).toEqual([
      "tar -x -f /dev/vdb -C /target",
      "cp -a /database/. /target/",
      "take 0 0 2 65537",
      "take 1 2 1 65536",
      "inside $install --unpack /run/packages/0.deb /run/packages/1.deb",
      "inside $install --configure a x",
      "take 0 3 1 1",
      "inside $install --unpack /run/packages/0.deb",
      "inside $install --configure --pending",
    ]);
  });

  it("leaves no identity that copies of the image would share", () => {
    const lines = script({}).split("\n");
    const configured = lines.lastIndexOf("inside $install --configure --pending");
    const written = lines.findIndex((line) => line.includes("step write the disk"));
    const gone = lines.slice(configured, written).join("\n");
    expect(gone).toContain("rm -f /target/var/lib/dbus/machine-id");
    expect(gone).toContain("/target/var/lib/systemd/random-seed");
  });

  it("makes the user, and lets in who has the key", () => {
    expect(script({})).not.toMatch(/useradd|authorized_keys/);
    const both = script({ user: "me", sshKey: key });
    expect(both).toContain("inside useradd --create-home --shell /bin/bash me");
    expect(both).toContain("inside chown -R me: /home/me/.ssh");
    expect(script({ sshKey: key })).toContain("inside chown -R root: /root/.ssh");
  });

  it.each([
    ["/init", builderInit],
    ["/build", script({ user: "me", sshKey: key })],
  ])("%s is one that a shell reads", (_, text) => {
    const { status, stderr } = spawnSync("sh", ["-n"], { input: text, encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
  });
});
