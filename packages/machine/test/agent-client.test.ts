/** The host's client of the guest agent, against agents that keep to the protocol, and such that don't. */
import { describe, expect, it } from "vitest";
import { AGENT_PORT, AgentClient, type CopyPart, shellStatus } from "../src/agent/index.js";
import {
  encodeFrame,
  type Frame,
  FrameType,
  INPUT_WINDOW,
  MAX_PAYLOAD,
  Operation,
  words,
} from "../src/agent/protocol.js";
import { type FakePeer, fakeAgent } from "./fake-agent.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const joined = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
const silent = { output: () => {}, errors: () => {} };
const turns = async (count = 20): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
};

/** An entry of a copy as frames have it. */
function entry(
  name: string,
  fields: { mode?: number; ns?: number; seconds?: bigint; size?: bigint } = {},
): Uint8Array {
  const head = new DataView(new ArrayBuffer(24));
  head.setUint32(0, fields.mode ?? 0o644, true);
  head.setUint32(4, fields.ns ?? 0, true);
  head.setBigInt64(8, fields.seconds ?? 1n, true);
  head.setBigUint64(16, fields.size ?? 0n, true);
  return joined(new Uint8Array(head.buffer), text(name));
}

describe("commands", () => {
  it("are sent exactly, and end with their status", async () => {
    const { connect, peers } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.start) {
        peer.send(FrameType.started, words(77));
        peer.send(FrameType.output, text("out"));
        peer.send(FrameType.errors, text("err"));
      }
      if (frame.type === FrameType.inputEnd) peer.send(FrameType.exit, words(0, 3));
    });
    const command = {
      words: ["printf", "%s", "", "a b\n'\""],
      variables: { NAME: "x=y" },
      folder: "/tmp",
      user: "mail:12",
      terminal: { columns: 100, rows: 30 },
    };
    const result = await new AgentClient(connect).run(command, { input: text("hello") });
    expect(Buffer.from(result.output).toString()).toBe("out");
    expect(Buffer.from(result.errors).toString()).toBe("err");
    expect(shellStatus(result.end)).toBe(3);
    expect(peers).toHaveLength(1);
    expect(peers[0]!.port).toBe(AGENT_PORT);
    expect(peers[0]!.isReset).toBe(true);
    expect(
      peers[0]!.frames.map(({ type, payload }) => [type, Buffer.from(payload).toString("latin1")]),
    ).toEqual([
      [FrameType.open, "\x01\0\0\0\x02\0\0\0"],
      [FrameType.argument, "printf"],
      [FrameType.argument, "%s"],
      [FrameType.argument, ""],
      [FrameType.argument, "a b\n'\""],
      [FrameType.variable, "NAME=x=y"],
      [FrameType.folder, "/tmp"],
      [FrameType.user, "mail:12"],
      [FrameType.terminal, "\x64\0\x1e\0"],
      [FrameType.start, ""],
      [FrameType.input, "hello"],
      [FrameType.inputEnd, ""],
    ]);
  });

  it("that a signal ends have its number and 128 as status", async () => {
    const { connect } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.start) peer.send(FrameType.started, words(1));
      if (frame.type === FrameType.signal) peer.send(FrameType.exit, words(1, 15));
    });
    const running = new AgentClient(connect).exec({ words: ["sleep"] }, silent);
    running.signal(15);
    const end = await running.ended;
    expect(end).toEqual({ kind: "killed", signal: 15 });
    expect(shellStatus(end)).toBe(143);
  });

  it("get no more input than their window, and go on when it is taken", async () => {
    const { connect, peers } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.start) peer.send(FrameType.started, words(1));
      if (frame.type === FrameType.inputEnd) peer.send(FrameType.exit, words(0, 0));
    });
    const running = new AgentClient(connect).exec({ words: ["cat"] }, silent);
    const sent = () =>
      peers[0]!.frames
        .filter(({ type }) => type === FrameType.input)
        .reduce((sum, { payload }) => sum + payload.length, 0);
    let isWritten = false;
    const written = running.write(new Uint8Array(INPUT_WINDOW + 1000)).then(() => {
      isWritten = true;
    });
    await turns();
    expect([sent(), isWritten]).toEqual([INPUT_WINDOW, false]);
    peers[0]!.send(FrameType.taken, words(400));
    await turns();
    expect([sent(), isWritten]).toEqual([INPUT_WINDOW + 400, false]);
    peers[0]!.send(FrameType.taken, words(600));
    await written;
    expect(sent()).toBe(INPUT_WINDOW + 1000);
    running.endInput();
    expect(await running.ended).toEqual({ kind: "exited", status: 0 });
    // What is written to a command that has ended is for nobody, and waits for nobody.
    await running.write(new Uint8Array(10 * INPUT_WINDOW));
  });

  it("whose output nobody takes are not read", async () => {
    const { connect, peers } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.start) peer.send(FrameType.started, words(1));
    });
    let release = () => {};
    let bytes = 0;
    const output = (part: Uint8Array) => {
      bytes += part.length;
      return new Promise<void>((resolve) => {
        release = resolve;
      });
    };
    const running = new AgentClient(connect).exec({ words: ["yes"] }, { output, errors: () => {} });
    await running.started;
    const part = new Uint8Array(65_536);
    let sent = 0;
    for (; peers[0]!.isReading && sent < 100; sent++) {
      peers[0]!.send(FrameType.output, part);
      await turns(2);
    }
    expect(sent).toBeLessThan(10);
    expect(bytes).toBe(part.length);
    for (let taken = 1; taken < sent; taken++) {
      release();
      await turns(2);
    }
    release();
    await turns();
    expect(bytes).toBe(sent * part.length);
    expect(peers[0]!.isReading).toBe(true);
    running.close();
    await expect(running.ended).rejects.toMatchObject({ code: "E_AGENT_LOST" });
  });

  it.each([
    [{ words: ["a\0b"] }, /the program's name has a zero character/],
    [{ words: ["x".repeat(MAX_PAYLOAD)] }, /has 131072 bytes: Linux takes less/],
    [{ words: ["x"], variables: { "A=B": "c" } }, /"A=B" is no name of a variable/],
    [{ words: ["x"], terminal: { columns: -1, rows: 2 } }, /-1 columns/],
  ])("that can't be are refused before anything is sent: %#", (command, message) => {
    const { connect, peers } = fakeAgent(() => {});
    expect(() => new AgentClient(connect).exec(command, silent)).toThrow(message);
    expect(peers).toHaveLength(0);
  });

  it("that the guest can't start tell why", async () => {
    const { connect } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.start)
        peer.send(FrameType.failed, words(2), text("can't run \x1b[31mnonsense"));
    });
    await expect(new AgentClient(connect).run({ words: ["nonsense"] })).rejects.toMatchObject({
      code: "E_AGENT_FAILED",
      errorNumber: 2,
      message: "can't run ?[31mnonsense: there is no such file or folder",
    });
  });

  it("are ended where they print more than is kept", async () => {
    const { connect, peers } = fakeAgent((frame, peer) => {
      if (frame.type !== FrameType.start) return;
      peer.send(FrameType.started, words(1));
      peer.send(FrameType.output, new Uint8Array(101));
    });
    await expect(new AgentClient(connect).run({ words: ["yes"] }, { most: 100 })).rejects.toThrow(
      /more than 100 bytes/,
    );
    expect(peers[0]!.isReset).toBe(true);
  });
});

describe("connections", () => {
  it.each([
    ["refused", "E_AGENT_ABSENT"],
    ["no-driver", "E_AGENT_ABSENT"],
    ["too-many", "E_AGENT_BUSY"],
  ])("that are not opened (%s) fail with %s", async (why, code) => {
    const { connect } = fakeAgent((_, peer) => peer.events.failed(why));
    await expect(new AgentClient(connect).ping()).rejects.toMatchObject({ code });
  });

  it("are given up in time, and when asked to", async () => {
    const { connect, peers } = fakeAgent(() => {});
    const client = new AgentClient(connect, { timeoutMs: 20 });
    await expect(client.ping()).rejects.toMatchObject({ code: "E_AGENT_TIMEOUT" });
    const gone = new AbortController();
    const asked = client.identity(false, { signal: gone.signal, timeoutMs: 1e6 });
    gone.abort();
    await expect(asked).rejects.toMatchObject({ code: "E_AGENT_ABORTED" });
    await expect(client.ping({ signal: gone.signal })).rejects.toMatchObject({ code: "E_AGENT_ABORTED" });
    expect(peers.map(({ isReset }) => isReset)).toEqual([true, true, true]);
  });

  it("that a guest trickles into are given up in the same time", async () => {
    const { connect } = fakeAgent((_, peer) => {
      peer.give(encodeFrame(FrameType.done, new Uint8Array(MAX_PAYLOAD)).subarray(0, 10));
      const timer = setInterval(() => (peer.isReset ? clearInterval(timer) : peer.give(Uint8Array.of(1))), 1);
    });
    await expect(new AgentClient(connect, { timeoutMs: 50 }).ping()).rejects.toMatchObject({
      code: "E_AGENT_TIMEOUT",
    });
  });

  it("give frames whatever the pieces are in which they come", async () => {
    const answer = joined(text(`${"0".repeat(32)}\nguest\n${"a".repeat(36)}\n`));
    const { connect } = fakeAgent((_, peer) => {
      for (const byte of encodeFrame(FrameType.done, answer)) peer.give(Uint8Array.of(byte));
    });
    expect(await new AgentClient(connect).identity()).toEqual({
      machineId: "0".repeat(32),
      hostName: "guest",
      bootId: "a".repeat(36),
    });
  });

  it("set the clock, and tell by how much", async () => {
    const { connect, peers } = fakeAgent((_, peer) => {
      const before = new DataView(new ArrayBuffer(12));
      before.setBigInt64(0, 1_000n, true);
      before.setUint32(8, 500_000_000, true);
      peer.send(FrameType.done, new Uint8Array(before.buffer));
    });
    expect(await new AgentClient(connect).setClock(1_002_250)).toBe(1750);
    const { payload } = peers[0]!.frames[0]!;
    const view = new DataView(payload.buffer, payload.byteOffset);
    expect([view.getUint32(4, true), view.getBigInt64(8, true), view.getUint32(16, true)]).toEqual([
      Operation.clock,
      1002n,
      250_000_000,
    ]);
  });
});

describe("copies out of a guest", () => {
  const copied = async (...frames: [number, ...Uint8Array[]][]) => {
    const { connect } = fakeAgent((_, peer) => {
      for (const [type, ...parts] of frames) peer.send(type, ...parts);
    });
    const parts: CopyPart[] = [];
    for await (const part of new AgentClient(connect).copyOut("/x")) parts.push(part);
    return parts;
  };

  it("are parts in order", async () => {
    const parts = await copied(
      [FrameType.enter, entry("d", { mode: 0o755 })],
      [FrameType.file, entry("f", { size: 3n, seconds: 7n, ns: 9 })],
      [FrameType.data, text("abc")],
      [FrameType.data],
      [FrameType.link, entry("l\0../t")],
      [FrameType.warning, words(13), text("can't read x")],
      [FrameType.leave],
      [FrameType.finish],
    );
    const common = { nanoseconds: 0, seconds: 1, size: 0, mode: 0o644 };
    expect(parts).toEqual([
      { kind: "enter", name: "d", ...common, mode: 0o755 },
      { kind: "file", name: "f", ...common, size: 3, seconds: 7, nanoseconds: 9 },
      { kind: "data", bytes: text("abc") },
      { kind: "end" },
      { kind: "link", name: "l", target: "../t", ...common },
      { kind: "warning", text: "can't read x: permission is denied" },
      { kind: "leave" },
    ]);
  });

  it.each<[string, [number, ...Uint8Array[]][]]>([
    ["a name with folders", [[FrameType.file, entry("../../etc/passwd")]]],
    ["a name that goes up", [[FrameType.enter, entry("..")]]],
    ["an absolute name", [[FrameType.file, entry("/etc/passwd")]]],
    ["no name", [[FrameType.file, entry("")]]],
    ["a name with a zero", [[FrameType.file, entry("a\0b")]]],
    ["a name that is too long", [[FrameType.file, entry("n".repeat(256))]]],
    ["a link to nowhere", [[FrameType.link, entry("l")]]],
    ["an impossible mode", [[FrameType.file, entry("f", { mode: 0o10000 })]]],
    ["an impossible time", [[FrameType.file, entry("f", { ns: 1_000_000_000 })]]],
    ["bytes of no file", [[FrameType.data, text("x")]]],
    [
      "a file in a file",
      [
        [FrameType.file, entry("f")],
        [FrameType.file, entry("g")],
      ],
    ],
    ["a folder that was not entered", [[FrameType.leave]]],
    ["two sources", [[FrameType.file, entry("f")], [FrameType.data], [FrameType.file, entry("g")]]],
    ["an end in the middle", [[FrameType.enter, entry("d")], [FrameType.finish]]],
    ["nothing at all", [[FrameType.finish]]],
    [
      "folders without end",
      Array.from({ length: 200 }, () => [FrameType.enter, entry("d")] as [number, Uint8Array]),
    ],
    ["frames of commands", [[FrameType.output, text("x")]]],
  ])("are refused with %s", async (_, frames) => {
    await expect(copied(...frames)).rejects.toMatchObject({ code: "E_AGENT_PROTOCOL" });
  });
});

describe("copies into a guest", () => {
  const source = async function* (): AsyncGenerator<CopyPart> {
    yield { kind: "file", name: "f", mode: 0o600, seconds: 5, nanoseconds: 6, size: 200_000 };
    yield { kind: "data", bytes: new Uint8Array(200_000).fill(1) };
    yield { kind: "end" };
  };

  it("are frames in order, none too long", async () => {
    const { connect, peers } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.open) peer.send(FrameType.started);
      if (frame.type === FrameType.finish) peer.send(FrameType.done);
    });
    await new AgentClient(connect).copyIn(source(), "f", "/tmp");
    expect(peers[0]!.frames.map(({ type, payload }) => [type, payload.length])).toEqual([
      [FrameType.open, 8 + "f\0/tmp".length],
      [FrameType.file, 25],
      [FrameType.data, MAX_PAYLOAD],
      [FrameType.data, 200_000 - MAX_PAYLOAD],
      [FrameType.data, 0],
      [FrameType.finish, 0],
    ]);
  });

  it("end where the guest can't go on, though it takes no more", async () => {
    const { connect, peers } = fakeAgent((frame, peer) => {
      if (frame.type === FrameType.open) peer.send(FrameType.started);
      if (frame.type !== FrameType.file) return;
      peer.isFull = true;
      setTimeout(() => peer.send(FrameType.failed, words(28), text("can't write f")), 20);
    });
    await expect(new AgentClient(connect).copyIn(source(), "f", "/tmp")).rejects.toThrow(
      "can't write f: there is no space left on the disk",
    );
    expect(peers[0]!.isReset).toBe(true);
  });
});

describe("10,000 malformed messages", () => {
  /** A generator of numbers below 2^32 (xorshift). */
  function randomNumbers(seed: number): () => number {
    let state = seed | 1;
    return () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    };
  }

  it("end their operations with an error of the agent's, and nothing else", async () => {
    const random = randomNumbers(20_161);
    const types = [...Object.values(FrameType), 0, 999, 0xffff_ffff];
    let messages = 0;
    const message = (): Uint8Array => {
      messages++;
      const type = types[random() % types.length]!;
      const payload = Uint8Array.from({ length: random() % 40 }, () => random());
      const frame = encodeFrame(type, payload);
      // Some say a false length, some end early.
      if (random() % 4 === 0) new DataView(frame.buffer).setUint32(0, random(), true);
      return random() % 4 === 0 ? frame.subarray(0, random() % (frame.length + 1)) : frame;
    };
    const flood = (_: Frame, peer: FakePeer) => {
      // Some begin as they should.
      if (random() % 2 === 0 && peer.given === 0) peer.send(FrameType.started, words(1));
      for (let count = 0; count < 12; count++) peer.give(message());
      if (random() % 2 === 0) peer.events.closed(random() % 2 === 0);
    };
    const codes = new Map<string, number>();
    const operations: ((client: AgentClient) => Promise<unknown>)[] = [
      (client) => client.ping(),
      (client) => client.run({ words: ["x"] }),
      (client) => client.setClock(0),
      (client) => client.identity(),
      (client) => client.powerOff(),
      async (client) => {
        for await (const _ of client.copyOut("/x"));
      },
      (client) =>
        client.copyIn(
          (async function* (): AsyncGenerator<CopyPart> {
            yield { kind: "leave" };
          })(),
          "a",
          "b",
        ),
    ];
    while (messages < 10_000) {
      const { connect, peers } = fakeAgent(flood);
      const client = new AgentClient(connect, { timeoutMs: 20 });
      for (const operation of operations) {
        const code = await operation(client).then(
          () => "done",
          (error: { code?: string; message: string }) => {
            expect(error.message).not.toMatch(/\p{Cc}/u);
            return error.code ?? `${error}`;
          },
        );
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
      expect(peers.every(({ isReset }) => isReset)).toBe(true);
    }
    expect([...codes.keys()].filter((code) => code !== "done" && !code.startsWith("E_AGENT_"))).toEqual([]);
    expect(codes.get("E_AGENT_PROTOCOL")).toBeGreaterThan(300);
    // Now and then a message is a right one by chance.
    expect(codes.get("done") ?? 0).toBeLessThan(100);
  });
});
