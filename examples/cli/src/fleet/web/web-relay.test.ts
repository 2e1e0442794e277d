/** The relay's thread as the daemon has it, with threads that the test has written. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { WebRelay } from "./web-relay.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "hf-web-relay-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A relay whose threads run a program; what they do and what was told of them. */
async function started(source: string) {
  const path = join(folder, `${Math.random()}.mjs`);
  await writeFile(path, `import { parentPort, workerData } from "node:worker_threads";\n${source}`);
  const failures: string[] = [];
  const refused: string[] = [];
  let changes = 0;
  const relay = await WebRelay.start({
    program: pathToFileURL(path),
    place: { address: "127.0.0.1", port: 0 },
    ...{ origins: ["https://example.org"], rules: [] },
    refused: ({ protocol, address, port }) => refused.push(`${protocol} ${address} ${port}`),
    changed: () => changes++,
    failed: ({ message }) => failures.push(message),
  });
  return { relay, failures, refused, changes: () => changes };
}

it("a thread that fails has a successor at the same address, with the same token", async () => {
  const { relay, failures, refused, changes } = await started(`
    const { port, token, origins } = workerData;
    parentPort.postMessage({ kind: "listening", port: port || 4567 });
    parentPort.postMessage({ kind: "clients", count: 2 });
    parentPort.postMessage({ kind: "refused", protocol: "tcp", address: token + port + origins, port: 1 });
    if (port === 0) setTimeout(() => { throw new Error("it crashed"); }, 200);
  `);
  const { url } = relay;
  const token = new URL(url).searchParams.get("token")!;
  expect(url).toBe(`ws://127.0.0.1:4567/wisp/?token=${token}&hyperfile=1`);
  await vi.waitFor(() => expect(relay.isUsed).toBe(true));
  await vi.waitFor(
    () => expect(failures).toEqual(["the thread of the relay for pages has failed: it crashed"]),
    {
      timeout: 20_000,
    },
  );
  expect(relay.isUsed).toBe(false);
  await vi.waitFor(() => expect(relay.isUsed).toBe(true), { timeout: 20_000 });
  expect(refused).toEqual([`tcp ${token}0https://example.org 1`, `tcp ${token}4567https://example.org 1`]);
  expect([relay.url, changes()]).toEqual([url, 3]);
  await relay.close();
});

it("a thread that does not listen, or does not load, is why there is no relay", async () => {
  await expect(
    started('parentPort.postMessage({ kind: "failed", message: "port 1 of 127.0.0.1 is taken" });'),
  ).rejects.toMatchObject({ code: "E_DAEMON", message: "--web: port 1 of 127.0.0.1 is taken" });
  await expect(started('throw new Error("nothing works");')).rejects.toThrow("--web: nothing works");
});
