/** `npm run web`, as a user has it: it builds, serves with headers for isolation, and ends; mistakes are a line. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const program = fileURLToPath(new URL("../serve.mjs", import.meta.url));

/** Runs the server until it says where the page is, or ends. */
async function serve(...args: string[]) {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part) => (text += part));
  const ended = once(child, "close").then(([status]) => status as number | null);
  const opened = new Promise<void>((resolve) => {
    child.stdout.on("data", () => text.includes("web: open ") && resolve());
  });
  await Promise.race([opened, ended]);
  return { text: () => text, ended, end: () => child.kill("SIGTERM") };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

it("builds the pages and serves them", async () => {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "hf-served-"));
  const server = await serve("--port", String(port), "--out", folder);
  try {
    const [, address] = /web: open (\S+)/.exec(server.text())!;
    expect(address).toContain(`:${port}/`);
    for (const [path, text] of [
      ["", "<title>Hyperfile: virtual machines in a page</title>"],
      ["translator.html", "<title>"],
    ] as const) {
      const answer = await fetch(`${address}${path}`);
      expect(answer.headers.get("Cross-Origin-Opener-Policy")).toBe("same-origin");
      expect(answer.headers.get("Cross-Origin-Embedder-Policy")).toBe("require-corp");
      expect(await answer.text()).toContain(text);
    }
    // Debian is there, or it is said why not.
    const { debian } = (await (await fetch(`${address}guests.json`)).json()) as { debian?: unknown };
    if (debian === undefined) expect(server.text()).toMatch(/web: the page has no Debian: [^\n]+\n/);
  } finally {
    server.end();
    await server.ended;
    await rm(folder, { recursive: true, force: true });
  }
});

it("says in a line what is wrong with how it was called", async () => {
  for (const [args, message] of [
    [["--port", "x"], /^web: --port x: use a number from 1 to 65535\n$/],
    [["--port"], /^web: --port: use a number from 1 to 65535\n$/],
    [["--prot", "1"], /^web: --prot: unknown option; usage: npm run web -- /],
  ] as const) {
    const server = await serve(...args);
    expect([await server.ended, server.text()]).toEqual([2, expect.stringMatching(message)]);
  }
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const server = await serve("--port", String(port));
  expect(await server.ended).toBe(1);
  expect(server.text()).toContain(`web: can't serve at port ${port}: `);
  taken.close();
});
