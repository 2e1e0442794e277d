import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { builderInit, buildScript } from "./build-script.js";
import { checkImageSettings } from "./settings.js";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk me@host";
const place = (name: string, offset: number, bytes: number) => ({ name, offset, bytes, preDepends: [] });
const [a, b, c] = [place("a", 0, 5000), place("b", 8192, 4096), place("c", 12288, 1)];
const script = (given: object) =>
  buildScript({
    settings: checkImageSettings(given),
    uuid: "00000000-0000-4000-8000-000000000000",
    base: [a],
    batches: [[[a, b]], [[c]]],
  });

describe("the script of a build", () => {
  it("takes each package from its place, and configures a batch before it unpacks the next", () => {
    const lines = script({}).split("\n");
    const work = lines.filter((line) => /^take \d|^ar |--unpack|--configure/.test(line));
    expect(work).toEqual([
      "take 0 0 2 5000",
      "ar -p $packages/0.deb data.tar | tar -x -f - -C /target",
      "take 0 0 2 5000",
      "take 1 2 1 4096",
      "inside $install --unpack /run/packages/0.deb /run/packages/1.deb",
      "inside $install --configure --pending",
      "take 0 3 1 1",
      "inside $install --unpack /run/packages/0.deb",
      "inside $install --configure --pending",
    ]);
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
