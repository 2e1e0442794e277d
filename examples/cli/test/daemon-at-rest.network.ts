/**
 * What a daemon keeps of the host when its VMs are gone. It waits for a minute, so it is no part of the default suite:
 * `npx vitest run --config vitest.network.config.ts daemon-at-rest`.
 */
import { mkdtemp, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { program, runToEnd } from "./own-daemon.js";

describe("a daemon that up has started", () => {
  it("gives back what its VMs took: a minute after the last one it has less than 120 MB", async () => {
    const own = await mkdtemp(join(tmpdir(), "hyperfile-rest-"));
    const variables = { HYPERFILE_STATE: join(own, "state"), HYPERFILE_SOCKET: undefined };
    const run = (...args: string[]) =>
      runToEnd([process.execPath, program, ...args], { cwd: own, variables });
    const names = ["a", "b", "c", "d"];
    await writeFile(
      join(own, "Hyperfile"),
      `name: rest\nvms:\n${names.map((name) => `  ${name}: { kernel: embedded, memory: 64M }\n`).join("")}`,
    );
    expect((await run("up")).errors).toBe("");
    const { pid } = JSON.parse(await readlink(join(own, "state", "lock", "holder")));
    try {
      for (const name of names) expect((await run("exec", name, "burn", "2")).status).toBe(0);
      const resident = async () =>
        Number(/^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))![1]) * 1024;
      expect(await resident()).toBeGreaterThan(150e6);
      expect((await run("down", "rest", "--force")).errors).toBe("");
      for (let tries = 0; tries < 60 && (await resident()) >= 120e6; tries++)
        await new Promise((resolve) => setTimeout(resolve, 1000));
      expect(await resident()).toBeLessThan(120e6);
    } finally {
      process.kill(pid, "SIGKILL");
      await rm(own, { recursive: true, force: true, maxRetries: 5 });
    }
  });
});
