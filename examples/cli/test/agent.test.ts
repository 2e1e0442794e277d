/**
 * The built program, its daemon and the guest agent in a real Debian: commands and copies as a user has them. Left out where
 * Debian's files were never fetched, or are from before there was an agent.
 *
 * `HYPERFILE_STDIN_MIB` is how much goes through a command's input, 4 unless given.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DaemonClient } from "@hyperfile/broker/client";
import { AgentClient, shellStatus } from "@hyperfile/machine/agent";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { debianImages } from "../../../packages/machine/test/debian.js";
import { runProgram } from "../src/program.js";
import { OwnDaemon, program, type RunResult, runToEnd } from "./own-daemon.js";
import { FakeInput, FakeOutput } from "./streams.js";

const { initrd } = debianImages() ?? {};
const hasAgent =
  initrd !== undefined &&
  ["vmw_vsock_virtio_transport.ko", "sbin/hyperfile-agent"].every((name) =>
    Buffer.from(initrd.bytes.buffer, initrd.bytes.byteOffset, initrd.bytes.length).includes(name),
  );
const STDIN_BYTES = Number(process.env.HYPERFILE_STDIN_MIB ?? 4) * 2 ** 20;
const COMMANDS = 200;
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

let folder: string;
let daemon: OwnDaemon;
const at = (...names: string[]): string => join(folder, ...names);
const run = (...args: string[]): Promise<RunResult> => daemon.run(...args);
const exec = (...words: string[]): Promise<RunResult> => execWith([], ...words);
const execWith = (options: string[], ...words: string[]): Promise<RunResult> =>
  run("exec", "-n", ...options, "box", ...words);

/** How many processes of a VM have a command line that a pattern finds, which is not to find itself. */
async function processes(vm: string, pattern: string): Promise<number> {
  const script = `for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $file; echo; done 2> /dev/null | grep -c '${pattern}'`;
  return Number((await run("exec", "-n", vm, "sh", "-c", script)).output);
}

/** The program as it goes on, with its input open. */
function started(...args: string[]): {
  child: ChildProcess;
  output: () => string;
  until(text: string): Promise<void>;
  ended: Promise<number | string | null>;
} {
  const child = spawn(process.execPath, [program, ...args], {
    cwd: daemon.folder,
    env: { ...process.env, NODE_PATH: undefined, ...daemon.variables },
    stdio: ["pipe", "pipe", "ignore"],
  });
  let output = "";
  child.stdout.on("data", (part) => (output += part));
  const until = async (text: string) => {
    while (!output.includes(text)) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  const ended = new Promise<number | string | null>((resolve) =>
    child.on("close", (status, signal) => resolve(status ?? signal)),
  );
  return { child, output: () => output, until, ended };
}

describe.skipIf(!hasAgent)("a Debian with an agent", { timeout: 600_000 }, () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "hf-agent-"));
    await writeFile(
      at("Hyperfile"),
      "name: agents\nvms:\n  box: { kernel: debian, memory: 256M, console: { columns: 100, rows: 40 } }\n  bare: { kernel: embedded, memory: 32M }\n",
    );
    daemon = await OwnDaemon.start(folder, at("state"));
    expect((await run("up")).output).toContain("box started");
    // Until the agent is up the console does it, which waits for the shell that comes after the agent.
    for (let tries = 0; tries < 3; tries++) if ((await exec("true")).errors === "") break;
  }, 300_000);
  afterAll(async () => {
    await daemon?.end();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  describe("runs commands", () => {
    it("with streams of their own and their status", async () => {
      expect(await exec("sh", "-c", "echo out; echo err >&2; exit 3")).toEqual({
        status: 3,
        output: "out\n",
        errors: "err\n",
      });
    });

    it("for clients of the API as well: a line of the shell, errors apart", async () => {
      const client = new DaemonClient(daemon.variables.HYPERFILE_SOCKET!);
      const line = "echo out\necho err >&2; exit 3";
      expect(await client.exec("box", line, 60_000)).toEqual({ status: 3, output: "out\n", errors: "err\n" });
      await expect(client.exec("box", "sleep 4242; true", 500)).rejects.toThrow(
        '"sleep 4242; true" goes on after 0.5 s, and was ended',
      );
      await expect.poll(() => processes("box", "sleep 424[2]"), { timeout: 20_000 }).toBe(0);
      expect(await client.exec("bare", "echo here", 60_000)).toEqual({ status: 0, output: "here\n" });
    });

    it("with arguments as they are", async () => {
      const words = ["", "a b", "$HOME", "it's", '"', "*", "\\n", "ü", "-n", "--timeout"];
      const { output, errors } = await exec("printf", "%s|", ...words);
      expect([output, errors]).toEqual([words.map((word) => `${word}|`).join(""), ""]);
    });

    it.each<[number, string[], RegExp, string[]?]>([
      [127, ["nonsense"], /^hyperfile: can't run nonsense: there is no such file or folder\n$/],
      [127, ["echo here"], /words are passed as they are: for a line of the shell write sh -c '...'/],
      [126, ["/etc/passwd"], /^hyperfile: can't run \/etc\/passwd: permission is denied\n$/],
      [
        126,
        ["true"],
        /^hyperfile: can't work in \/none: there is no such file or folder\n$/,
        ["--cwd", "/none"],
      ],
      [126, ["true"], /^hyperfile: there is no user or group nobody-here\n$/, ["--user", "nobody-here"]],
      [137, ["sh", "-c", "kill -9 $$"], /^$/],
      [143, ["sh", "-c", "kill $$"], /^$/],
    ])("that end with %i: %j", async (status, words, errors, options = []) => {
      const result = await execWith(options, ...words);
      expect(result.errors).toMatch(errors);
      expect(result.status).toBe(status);
    });

    it("with environment, folder and user", async () => {
      const args = ["--env", "A=x  y=z", "--env", "HOME=/there", "--cwd", "/tmp", "--user", "1234:5678"];
      const script = 'echo "$A|$HOME|$PWD|$USER"; id -u; id -g; id -G';
      expect((await execWith(args, "sh", "-c", script)).output).toBe(
        "x  y=z|/there|/tmp|1234\n1234\n5678\n5678\n",
      );
      expect((await exec("sh", "-c", "pwd; echo $USER $SHELL")).output).toBe("/root\nroot /bin/sh\n");
    });

    it("with input to its end, and none with -n", async () => {
      const options = { cwd: daemon.folder, variables: daemon.variables, input: "one\ntwo" };
      const words = ["box", "sh", "-c", "cat; echo .end"];
      const command = [process.execPath, program, "exec"];
      expect((await runToEnd([...command, ...words], options)).output).toBe("one\ntwo.end\n");
      expect((await runToEnd([...command, "-n", ...words], options)).output).toBe(".end\n");
    });

    it("through whose input megabytes of any bytes pass", async () => {
      const { child, output, ended } = started("exec", "box", "sha256sum");
      const digest = createHash("sha256");
      for (let sent = 0; sent < STDIN_BYTES; sent += 2 ** 20) {
        const part = randomBytes(2 ** 20);
        digest.update(part);
        if (!child.stdin!.write(part)) await new Promise((resolve) => child.stdin!.once("drain", resolve));
      }
      child.stdin!.end();
      expect(await ended).toBe(0);
      expect(output()).toBe(`${digest.digest("hex")}  -\n`);
    }, 1_200_000);

    it("that Ctrl-C and SIGTERM reach", async () => {
      const script = 'trap "echo got; exit 7" INT; echo ready; while :; do sleep 0.05; done';
      const one = started("exec", "-n", "box", "sh", "-c", script);
      await one.until("ready");
      one.child.kill("SIGINT");
      expect(await one.ended).toBe(7);
      expect(one.output()).toBe("ready\ngot\n");
      const other = started("exec", "-n", "box", "sh", "-c", "echo ready; exec sleep 1000");
      await other.until("ready");
      other.child.kill("SIGTERM");
      expect(await other.ended).toBe(143);
    });

    it("whose output nobody takes any more, quietly", async () => {
      const { child, until, ended } = started("exec", "-n", "box", "yes");
      await until("y\ny\n");
      child.stdout!.destroy();
      expect(await ended).toBe(141);
    });

    it("that end with a client that has died, and with --timeout", async () => {
      const gone = started("exec", "-n", "box", "sh", "-c", "echo ready; exec sleep 4242");
      await gone.until("ready");
      expect(await processes("box", "sleep 424[2]")).toBe(1);
      gone.child.kill("SIGKILL");
      await gone.ended;
      const limited = await execWith(["--timeout", "0.5"], "sleep", "4242");
      expect(limited.errors).toBe('hyperfile: "sleep 4242" goes on after 0.5 s: it was ended\n');
      expect(limited.status).toBe(1);
      let left = 1;
      for (let looks = 0; looks < 20 && left > 0; looks++) left = await processes("box", "sleep 424[2]");
      expect(left).toBe(0);
    });

    it("with a terminal that has this one's size, and follows it", async () => {
      const [input, output] = [new FakeInput(true), new FakeOutput()];
      [output.columns, output.rows] = [100, 30];
      const script =
        "tty; stty size; trap 'stty size; exit 5' WINCH; echo ready; read line; echo \"got $line\"; while :; do sleep 0.05; done";
      let errors = "";
      const status = runProgram(["exec", "-t", "box", "sh", "-c", script], {
        version: "0",
        write: () => {},
        machine: () => Promise.reject(new Error("no machine is made here")),
        streams: { input, output, errors: output, error: (text: string) => (errors += text) },
        environment: daemon.variables,
      } as unknown as Parameters<typeof runProgram>[1]);
      const until = async (text: string) => {
        while (!output.text.includes(text)) await new Promise((resolve) => setTimeout(resolve, 10));
      };
      await until("ready");
      expect(input.isRaw).toBe(true);
      input.emit("data", Buffer.from("keys\r"));
      await until("got keys");
      [output.columns, output.rows] = [132, 50];
      output.emit("resize");
      expect(await status).toBe(5);
      expect([input.isRaw, errors]).toEqual([false, ""]);
      expect(output.text.replaceAll("\r", "")).toBe("/dev/pts/0\n30 100\nready\nkeys\ngot keys\n50 132\n");
    });

    it("in a shell of the user's, that reads commands", async () => {
      const result = await runToEnd([process.execPath, program, "shell", "box"], {
        cwd: daemon.folder,
        variables: daemon.variables,
        input: "echo $((6 * 7)) $0\nexit 9\n",
      });
      expect(result.output).toContain("42 -sh");
      expect(result.status).toBe(9);
    });

    it(`${COMMANDS} at a time`, async () => {
      const client = new DaemonClient(daemon.variables.HYPERFILE_SOCKET!);
      const agent = new AgentClient((port, events) => client.connect("box", port, events), {
        timeoutMs: 600_000,
      });
      const results = await Promise.all(
        Array.from({ length: COMMANDS }, (_, index) =>
          agent.run(
            { words: ["sh", "-c", `cat; echo ${index} >&2; exit ${index % 7}`] },
            { input: Buffer.from(`in ${index}`) },
          ),
        ),
      );
      expect(
        results.map(({ end, output, errors }) => [
          shellStatus(end),
          `${Buffer.from(output)}`,
          `${Buffer.from(errors)}`,
        ]),
      ).toEqual(Array.from({ length: COMMANDS }, (_, index) => [index % 7, `in ${index}`, `${index}\n`]));
      // Nothing of them is left, neither processes nor zombies: but for the agent that listens and this command's.
      let left = "";
      for (let looks = 0; looks < 20; looks++) {
        left = (await exec("sh", "-c", "ps -o stat,args | grep -c '^Z\\|[h]yperfile-agent'")).output;
        if (left === "2\n") break;
      }
      expect(left).toBe("2\n");
    }, 900_000);
  });

  describe("copies", () => {
    it("folders in and out, with modes, times and links", async () => {
      const big = randomBytes(3 * 2 ** 20);
      await mkdir(at("tree", "empty"), { recursive: true });
      await writeFile(at("tree", "big"), big);
      await writeFile(at("tree", "tool"), "#!/bin/sh\necho works\n");
      await chmod(at("tree", "tool"), 0o750);
      await utimes(at("tree", "tool"), 1_000_000, 1_234_567.5);
      await symlink("tool", at("tree", "link"));
      expect(await run("cp", at("tree"), "box:/root/copy")).toEqual({ status: 0, output: "", errors: "" });
      expect((await exec("/root/copy/link")).output).toBe("works\n");
      expect((await exec("sha256sum", "/root/copy/big")).output).toBe(`${sha256(big)}  /root/copy/big\n`);
      expect((await exec("stat", "-c", "%a %Y %n", "/root/copy/tool", "/root/copy/empty")).output).toBe(
        `750 1234567 /root/copy/tool\n${((await stat(at("tree", "empty"))).mode & 0o777).toString(8)} ${Math.floor(
          (await stat(at("tree", "empty"))).mtimeMs / 1000,
        )} /root/copy/empty\n`,
      );
      // A folder that is there takes the source.
      expect((await run("cp", at("tree", "tool"), "box:/root/copy/empty")).status).toBe(0);
      expect(await run("cp", "box:/root/copy/", at("back"))).toEqual({ status: 0, output: "", errors: "" });
      expect(sha256(await readFile(at("back", "big")))).toBe(sha256(big));
      expect(await readlink(at("back", "link"))).toBe("tool");
      const tool = await stat(at("back", "empty", "tool"));
      expect([tool.mode & 0o777, tool.mtimeMs]).toEqual([0o750, 1_234_567_500]);
    });

    it("what can't be copied is told", async () => {
      const none = await run("cp", "box:/none", at("x"));
      expect(none).toMatchObject({
        status: 1,
        errors: "hyperfile: can't read /none: there is no such file or folder\n",
      });
      const far = await run("cp", at("Hyperfile"), "box:/none/x");
      expect(far.errors).toBe("hyperfile: there is no folder /none/: there is no such file or folder\n");
      const special = await run("cp", "-q", "box:/dev/shm/../../dev/pts", at("pts"));
      expect(special.status).toBe(1);
      expect(special.errors).toContain("this is neither file, folder nor link: ptmx");
      expect((await run("cp", "a", "b")).errors).toMatch(/neither place is in a VM/);
      expect((await run("cp", at("Hyperfile"), "bare:/x")).errors).toMatch(
        /^hyperfile: VM bare can't copy: /,
      );
    });
  });

  it("is cloned and restored with its agent, and without the commands of its original", async () => {
    const kept = started("exec", "box", "sh", "-c", "echo ready; read line; echo got $line; exit 4");
    await kept.until("ready");
    expect((await run("snapshot", "box", "then")).status).toBe(0);
    expect((await run("clone", "box", "twin")).status).toBe(0);
    let left = 1;
    for (let looks = 0; looks < 20 && left > 0; looks++) left = await processes("twin", "read lin[e]");
    expect(left).toBe(0);
    // A clone has a name and a machine id of its own, once it is told.
    const names = (vm: string) => run("exec", "-n", vm, "sh", "-c", "hostname; cat /etc/machine-id");
    let own = "";
    for (let looks = 0; looks < 20 && !own.includes("twin"); looks++) own = (await names("twin")).output;
    expect(own).toMatch(/^twin\n[0-9a-f]{32}\n$/);
    expect((await names("box")).output).toBe("hyperfile\n");
    // The original's goes on.
    expect(await processes("box", "read lin[e]")).toBe(1);
    kept.child.stdin!.end("this\n");
    expect(await kept.ended).toBe(4);
    expect(kept.output()).toBe("ready\ngot this\n");
    const cut = started("exec", "-n", "twin", "sleep", "1000");
    expect((await run("restore", "box", "then")).status).toBe(0);
    expect(await run("exec", "-n", "box", "echo", "again")).toEqual({
      status: 0,
      output: "again\n",
      errors: "",
    });
    expect((await run("stop", "--force", "twin")).status).toBe(0);
    expect(await cut.ended).toBe(1);
  });

  it("has a console of the size that its file says", async () => {
    expect((await exec("sh", "-c", "stty size < /dev/ttyS0")).output).toBe("40 100\n");
  });

  it("has the host's time after a pause, and after it was restored", async () => {
    /** Seconds that the guest is away from the host, whatever asking it took. */
    const away = async (): Promise<number> => {
      const before = Date.now() / 1000;
      const guest = Number((await exec("date", "+%s")).output);
      return Math.max(0, before - guest, guest - Date.now() / 1000);
    };
    expect((await run("snapshot", "box", "early")).status).toBe(0);
    expect((await run("pause", "box")).status).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    expect((await run("resume", "box")).status).toBe(0);
    await expect.poll(away, { timeout: 120_000 }).toBeLessThan(3);
    expect((await run("restore", "box", "early")).status).toBe(0);
    await expect.poll(away, { timeout: 120_000 }).toBeLessThan(3);
  });

  it("a VM without an agent has its console, and says so", async () => {
    const { status, output, errors } = await run("exec", "bare", "echo", "here");
    expect([status, output]).toEqual([0, "here\n"]);
    expect(errors).toMatch(
      /^hyperfile: VM bare has no agent that answers \(.*\): the command is typed on its console\n$/,
    );
    const refused = await run("exec", "-t", "bare", "echo");
    expect(refused.status).toBe(1);
    expect(refused.errors).toMatch(/^hyperfile: VM bare has no agent for this: /);
  });

  it("is stopped by its agent", async () => {
    expect(await run("stop", "box")).toEqual({ status: 0, output: "", errors: "" });
    expect((await run("logs", "box")).output).toMatch(/reboot: Power down/);
    expect((await run("exec", "box", "true")).errors).toBe("hyperfile: can't connect to VM box: it is off\n");
  });
});
