import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { builderInit, buildScript } from "./build-script.js";
import { checkImageSettings } from "./settings.js";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHk me@host";
const BLOCK = 65536;
const place = (name: string, block: number, bytes: number) => ({ name, offset: block * BLOCK, bytes });
const [a, b, c] = [place("a", 3, BLOCK + 1), place("b", 5, BLOCK), place("c", 6, 1)];
const script = (given: object) =>
  buildScript({
    settings: checkImageSettings(given),
    uuid: "00000000-0000-4000-8000-000000000000",
    archives: [
      { offset: 0, bytes: 2 * BLOCK },
      { offset: 2 * BLOCK, bytes: 5 },
    ],
    batches: [
      { groups: [[a, b]], configure: ["a", "x"] },
      { groups: [[c]], configure: ["b", "c"] },
    ],
  });

describe("the script of a build", () => {
  it("lays out, then takes each package from its place, and configures a batch before it unpacks the next", () => {
    const lines = script({}).split("\n");
    const work = lines.filter((line) => /^take \d|^part \d|^cp .*database|--unpack|--configure/.test(line));
    expect(work).toEqual([
      "part 0 2 | tar -x -f - -C /target",
      "part 2 1 | tar -x -f - -C /target",
      "cp -a /database/. /target/",
      "take 0 3 2 65537",
      "take 1 5 1 65536",
      "inside $install --unpack /run/packages/0.deb /run/packages/1.deb",
      "inside $install --configure a x",
      "take 0 6 1 1",
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
