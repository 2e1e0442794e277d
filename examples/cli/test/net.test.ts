/**
 * `--net` with Debian: it has an address when its shell begins, reaches what the command line allows, and nothing else of the
 * host. Left out where Debian's files were never fetched (`npm start` does).
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { userCacheFolder } from "@hyperfile/machine/debian";
import { expect, it, onTestFinished } from "vitest";

const program = fileURLToPath(new URL("../bin/hyperfile.mjs", import.meta.url));
const isThere = existsSync(join(userCacheFolder(), "debian-trixie-riscv64", "initramfs.cpio"));
/** What a port of this computer answers to a line. */
const ask = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write("hello\n"));
    socket.on("data", (data) => (answer += data)).on("close", () => resolve(answer));
    socket.on("error", reject);
  });
const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

it.skipIf(!isThere)(
  "a guest gets its address, and fetches and sends what its host lets it",
  async () => {
    const content = randomBytes(1 << 20);
    const got: Buffer[] = [];
    const serve = (answer: Uint8Array) =>
      new Promise<number>((resolve) => {
        const server = createServer({ allowHalfOpen: true }, (socket) => {
          socket.on("data", (data) => got.push(data)).on("end", () => socket.end(answer));
        });
        onTestFinished(() => void server.close());
        server.listen(0, "127.0.0.1", () => resolve((server.address() as { port: number }).port));
      });
    const [allowed, other] = [await serve(content), await serve(new Uint8Array())];
    const net = `user,allow=127.0.0.1:${allowed},forward=0:7`;
    const child = spawn(process.execPath, [program, "start", "--no-tty", "--memory", "128M", "--net", net]);
    let output = "";
    let asked: Promise<string> | undefined;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        output += data;
        const [, port] = /port (\d+) of this computer leads to tcp port 7 of the guest/.exec(output) ?? [];
        if (output.includes("listening now")) asked ??= ask(Number(port));
      });
    child.stdin.end(
      [
        "ip addr show eth0; cat /etc/resolv.conf",
        "dd if=/dev/urandom of=/tmp/file bs=64k count=4 2> /dev/null; sha256sum /tmp/file",
        `nc 10.0.2.2 ${allowed} < /tmp/file | sha256sum`,
        `nc -w 5 10.0.2.2 ${other} < /dev/null; echo refused $?`,
        "nc -l -p 7 -e sh -c 'read -r line; echo heard $line' & sleep 1; echo listening $(echo now); wait $!",
        "poweroff -f\n",
      ].join("\n"),
    );
    await new Promise((resolve) => child.on("close", resolve));
    expect(output).toMatch(/inet 10\.0\.2\.15\/24/);
    expect(output).toMatch(/^nameserver 10\.0\.2\.3$/m);
    expect(output).toContain(`${digest(content)}  -`);
    expect(output).toContain(`${digest(Buffer.concat(got))}  /tmp/file`);
    expect(output).toContain("refused 1");
    expect(await asked).toBe("heard hello\n");
    expect(output).toContain(
      `hyperfile: the guest may not reach tcp 127.0.0.1:${other}: --net user,allow=127.0.0.1:${other} lets it`,
    );
  },
  200_000,
);
