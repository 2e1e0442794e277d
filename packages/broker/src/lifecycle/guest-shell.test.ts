/** Commands on consoles: a POSIX shell and the embedded guest's, with echo, noise and endings of every kind. */
import { spawnSync } from "node:child_process";
import { guestKinds } from "@hyperfile/machine/guests";
import { describe, expect, it, vi } from "vitest";
import { GuestShell } from "./guest-shell.js";

/** A console that echoes what is typed, as a terminal does, and answers a line with what `answer` makes of it. */
function consoleOf(
  kind: "posix" | "embedded",
  answer: (line: string) => string,
  prompt: string,
  isCopy = false,
) {
  const typed: string[] = [];
  const shell: GuestShell = new GuestShell(
    "web",
    guestKinds.shells[kind],
    (bytes) => {
      const text = new TextDecoder().decode(bytes);
      typed.push(text);
      if (!text.endsWith("\n")) return;
      // The echo comes in pieces, and the terminal turns line ends.
      print(text.slice(0, 7));
      print(`${text.slice(7, -1)}\r\n`);
      print(answer(text.slice(0, -1)).replaceAll("\n", "\r\n"));
      print(prompt);
    },
    isCopy,
  );
  const print = (text: string) => shell.feed(new TextEncoder().encode(text));
  return { shell, print, typed };
}

/** A shell that runs nothing but prints what `results` has for each command. */
const posix = (results: Readonly<Record<string, [output: string, status: number]>>) => (line: string) => {
  const [, mark, command] = /^echo "hf""(\w+)\+"; command eval '(.*)' 2>&1; echo "hf""\w+-\$\?"$/.exec(line)!;
  const [output, status] = results[command!]!;
  return `hf${mark}+\n${output}hf${mark}-${status}\n`;
};

const embedded = (results: Readonly<Record<string, string>>) => (line: string) => {
  const [, mark, command] = /^echo \+(\w+);(.*);echo -\w+$/.exec(line)!;
  return `+${mark}\n${results[command!]}-${mark}\n`;
};

it("types a second empty line at a copy that took the first one for the rest of a line's end", async () => {
  vi.useFakeTimers();
  try {
    const typed: string[] = [];
    const shell = new GuestShell(
      "web",
      guestKinds.shells.embedded,
      (bytes) => {
        typed.push(new TextDecoder().decode(bytes));
        if (typed.length === 2) shell.feed(new TextEncoder().encode("\r\nguest# "));
      },
      true,
    );
    const ready = shell.untilPrompt(60_000);
    await vi.advanceTimersByTimeAsync(1500);
    await ready;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(typed).toEqual(["\n", "\n"]);
  } finally {
    vi.useRealTimers();
  }
});

describe("a command that is given up", () => {
  const never = () => "";
  const ended = async (promise: Promise<unknown>) =>
    promise.then(
      () => "done",
      (error: { code: string; message: string }) => `${error.code} ${error.message}`,
    );

  it("gets Ctrl-C where it runs, and is never typed where it waits for another, the prompt, or its turn", async () => {
    const { shell, print, typed } = consoleOf("posix", never, "");
    const [early, running, waiting] = [new AbortController(), new AbortController(), new AbortController()];
    const first = ended(shell.run("first", 60_000, early.signal));
    await new Promise((resolve) => setImmediate(resolve));
    early.abort();
    expect(await first).toBe('E_EXEC VM web: "first" was given up');
    expect(typed).toEqual([]);
    const second = ended(shell.run("second", 60_000, running.signal));
    const third = ended(shell.run("third", 60_000, waiting.signal));
    print("$ ");
    while (typed.length === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(typed[0]).toContain("second");
    waiting.abort();
    expect(await third).toBe('E_EXEC VM web: "third" was given up');
    expect(typed).toHaveLength(1);
    running.abort();
    expect(await second).toBe('E_EXEC VM web: "second" was given up');
    await new Promise((resolve) => setImmediate(resolve));
    expect(typed.slice(1)).toEqual(["\x03"]);
    const late = new AbortController();
    late.abort();
    expect(await ended(shell.run("late", 60_000, late.signal))).toBe('E_EXEC VM web: "late" was given up');
    expect(typed).toHaveLength(2);
  });
});

describe("a POSIX shell", () => {
  it.each([
    ["a separator at the end", "echo hi;", 0, "hi\n"],
    ["quotes of both kinds", "echo 'it'\"'\"s; echo err >&2; (exit 7)", 7, "it's\nerr\n"],
    ["a loop without an end", "for x in; do", "a mistake", /syntax|unexpected/i],
    ["a quote without an end", "echo it's", "a mistake", /unterminated|EOF/i],
    ["long quotes", `echo ${"x' \\y'".repeat(700)} | wc -c`, 0, /\b2801\n/],
    ["a long line", `echo ${"word ".repeat(1000)}| wc -w`, 0, /\b1000\n/],
  ])("gets a command so that its end is always seen: %s", async (_, command, status, output) => {
    const { shell, print } = consoleOf(
      "posix",
      (lines) => spawnSync("sh", { input: `${lines}\n`, encoding: "utf8" }).stdout,
      "$ ",
    );
    print("$ ");
    const result = await shell.run(command, 10_000);
    expect(result.output).toMatch(output);
    // Shells have several numbers for a mistake in the syntax.
    if (status === "a mistake") expect(result.status).toBeGreaterThan(0);
    else expect(result.status).toBe(status);
  });

  it("gets no line of more than its editor takes, and refuses what is too long altogether", async () => {
    const { shell, print, typed } = consoleOf("posix", () => "", "$ ");
    print("$ ");
    const running = shell.run(`echo ${"'".repeat(3000)}`, 200).catch(() => {});
    await Promise.resolve();
    await expect(shell.run("x".repeat(70_000), 1000)).rejects.toThrow(
      /too long: it may have 65536 characters/,
    );
    await running;
    expect(typed[0]!.split("\n").length).toBeGreaterThan(7);
    for (const line of typed.join("").split("\n")) expect(line.length).toBeLessThan(1024);
  });

  it("gives status and output, in order, once there is a prompt", async () => {
    const { shell, print, typed } = consoleOf(
      "posix",
      posix({ "echo hi": ["hi\n", 0], false: ["", 1], "printf x": ["x", 0] }),
      "\x1b[6nroot@web:~# ",
    );
    const results = [shell.run("echo hi", 1000), shell.run("false", 1000), shell.run("printf x", 1000)];
    await Promise.resolve();
    expect(typed).toEqual([]);
    print("Booting...\r\nroot@web:~# ");
    expect(await Promise.all(results)).toEqual([
      { status: 0, output: "hi\n" },
      { status: 1, output: "" },
      { status: 0, output: "x" },
    ]);
  });

  it("that says nothing is not waited for without end, and gets Ctrl-C", async () => {
    const { shell, print, typed } = consoleOf("posix", () => "", "");
    await expect(shell.run("x", 20)).rejects.toThrow(/VM web: the guest shows no prompt after 0 s/);
    print("# ");
    await expect(shell.run("sleep 1000", 20)).rejects.toMatchObject({
      code: "E_EXEC_TIMEOUT",
      message: expect.stringContaining('"sleep 1000" goes on'),
    });
    expect(typed.at(-1)).toBe("\x03");
  });

  it("may print without end: its last part is kept, and said to be so", async () => {
    const { shell, print, typed } = consoleOf("posix", () => "", "");
    print("$ ");
    const result = shell.run("cat /dev/zero", 30_000);
    await new Promise((resolve) => setImmediate(resolve));
    const mark = /"hf""(\w+)\+"/.exec(typed[0]!)![1]!;
    print(`hf${mark}+\n`);
    const line = `${"y".repeat(99_999)}\n`;
    for (let at = 0; at < 60; at++) print(line);
    print(`hf${mark}-0\n`);
    const { output, omitted, status } = await result;
    expect(status).toBe(0);
    expect(output.length).toBe(4 * 2 ** 20);
    expect(omitted).toBe(60 * line.length - output.length);
  });

  it("waits as long as it is told, which may be longer than the host's timers", async () => {
    vi.useFakeTimers();
    try {
      const { shell, print } = consoleOf("posix", () => "", "");
      print("$ ");
      let outcome: unknown;
      shell.run("sleep 3000000", 2 ** 31 + 60_000).catch((error) => (outcome = error));
      await vi.advanceTimersByTimeAsync(2 ** 31 + 50_000);
      expect(outcome).toBeUndefined();
      await vi.advanceTimersByTimeAsync(20_000);
      expect(outcome).toMatchObject({ code: "E_EXEC_TIMEOUT" });
    } finally {
      vi.useRealTimers();
    }
  });

  it("of a clone or a restored guest shows its prompt again for an empty line", async () => {
    const answers = posix({ true: ["", 0] });
    const { shell, typed } = consoleOf("posix", (line) => (line === "" ? "" : answers(line)), "# ", true);
    expect(await shell.run("true", 1000)).toEqual({ status: 0, output: "" });
    expect(typed[0]).toBe("\n");
  });

  it("fails at once when the VM ends", async () => {
    const { shell, print } = consoleOf("posix", () => "", "");
    print("# ");
    const result = shell.run("halt", 10_000);
    await Promise.resolve();
    shell.close("was powered off");
    await expect(result).rejects.toThrow("VM web was powered off");
    await expect(shell.run("true", 10)).rejects.toThrow("VM web was powered off");
  });

  it("takes one line without control characters", async () => {
    const { shell, print } = consoleOf("posix", () => "", "");
    print("# ");
    await expect(shell.run("a\nb", 10)).rejects.toThrow(/control characters/);
    await expect(shell.run("a\x03", 10)).rejects.toThrow(/control characters/);
  });
});

describe("the embedded guest's shell", () => {
  it("has its statuses read from what it reports", async () => {
    const { shell, print } = consoleOf(
      "embedded",
      embedded({
        "burn 1": "burn: 1 million steps, 1 2, ok\n",
        "sleep x": "usage: sleep SECONDS\nsleep (7): status 2\n",
        "fault 3": "fault (9): killed\n",
        nothing: "nothing: no such command: try help\n",
      }),
      "guest# ",
    );
    print("Type help for the commands.\r\nguest# ");
    expect(await shell.run("burn 1", 1000)).toEqual({
      status: 0,
      output: "burn: 1 million steps, 1 2, ok\n",
    });
    expect(await shell.run("sleep x", 1000)).toEqual({ status: 2, output: "usage: sleep SECONDS\n" });
    expect((await shell.run("fault 3", 1000)).status).toBe(137);
    expect((await shell.run("nothing", 1000)).status).toBe(127);
    await expect(shell.run("x".repeat(200), 1000)).rejects.toThrow(
      /too long: the embedded guest takes 1[34]\d characters/,
    );
  });
});
