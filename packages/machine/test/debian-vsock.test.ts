/**
 * Unmodified Debian with a device for sockets: Linux's own driver, and the guest agent that its initial file system starts.
 * Bytes go both ways through programs of the guest, and what they say of them is what the host finds. Left out where
 * Debian's files were never fetched with the agent (`npm start` does). `HYPERFILE_VSOCK_MIB=100` has it carry as much.
 */
import { createHash } from "node:crypto";
import { RAM_BASE } from "@hyperfile/devices";
import type { VsockPorts } from "@hyperfile/devices/virtio";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { expect, it, onTestFinished } from "vitest";
import { AgentClient } from "../src/agent/index.js";
import { type RiscvVirt, type RiscvVirtOptions, riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, whileDrained, zstdCodec } from "../src/snapshot/index.js";
import { DEBIAN_PROMPT, debianWithAgent } from "./debian.js";
import { Session, Terminal } from "./session.js";
import { dialProgram } from "./vsock-dial.js";

const MEBIBYTES = Number(process.env.HYPERFILE_VSOCK_MIB ?? 4);
const RAM = (256 << 20) + MEBIBYTES * 4 * 2 ** 20;
const images = await debianWithAgent();
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Bytes that do not repeat. */
function bytesOf(length: number, seed: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4));
  let state = seed;
  for (let index = 0; index < words.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[index] = state;
  }
  return new Uint8Array(words.buffer, 0, length);
}

const clientOf = (machine: RiscvVirt): AgentClient =>
  new AgentClient((port, events) => machine.vsock!.connect(port, events), { timeoutMs: 120_000 });

/** Waits for the agent of a guest that starts. */
async function untilThere(client: AgentClient): Promise<void> {
  for (;;) {
    const version = await client.ping().catch((error: unknown) => {
      expect(error).toMatchObject({ code: "E_AGENT_ABSENT" });
    });
    if (version !== undefined) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What the next program of the guest's that connects to a port sends; it is sent the same back. */
const echo = (ports: VsockPorts, port: number): Promise<string> =>
  new Promise((resolve) => {
    const hash = createHash("sha256");
    const listener = ports.listen(port, (caller) => {
      listener.close();
      const stream = caller.take({
        data: (data) => {
          hash.update(data);
          if (!stream.write(data)) stream.setReading(false);
        },
        drained: () => stream.setReading(true),
        ended: () => stream.end(),
        closed: (isBroken) => resolve(`${hash.digest("hex")} ${isBroken ? "broken" : "closed"}`),
      });
    });
  });

it.skipIf(images === undefined)(
  "Debian's programs and the host exchange bytes, both ways; clones and restores go on without their streams",
  async () => {
    const pool = riscvPool({ frameBytes: 3 * RAM });
    const make = (console: Terminal, options: Partial<RiscvVirtOptions> = {}) => {
      const memory = guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE });
      const machine = riscvVirt({ ramBytes: RAM, boot: images!, console, memory, vsock: {}, ...options });
      onTestFinished(() => machine.free());
      return machine;
    };
    const terminal = new Terminal();
    const machine = make(terminal);
    const session = new Session(machine, terminal);
    const client = clientOf(machine);
    await session.until(DEBIAN_PROMPT);
    await untilThere(client);

    // The host opens streams: to the guest, and back.
    const bytes = bytesOf(MEBIBYTES * 2 ** 20, 1);
    const digest = sha256(bytes);
    const kept = await client.run(
      { words: ["sh", "-c", "cat > /tmp/bytes; sha256sum < /tmp/bytes"] },
      { input: bytes },
    );
    expect(text(kept.output)).toBe(`${digest}  -\n`);
    const back = await client.run({ words: ["cat", "/tmp/bytes"] }, { most: bytes.length });
    expect(sha256(back.output)).toBe(digest);
    const cat = await client.run({ words: ["cat"] }, { input: bytes, most: bytes.length });
    expect(sha256(cat.output)).toBe(digest);

    // The guest opens one, and gets back what it sends.
    await client.run(
      { words: ["sh", "-c", "cat > /tmp/dial; chmod +x /tmp/dial"] },
      { input: dialProgram(0x12345678) },
    );
    const echoed = echo(machine.vsock!, 0x12345678);
    const dial = await client.run({
      words: ["sh", "-c", "/tmp/dial < /tmp/bytes | sha256sum; rm /tmp/bytes"],
    });
    expect([text(dial.output), text(dial.errors)]).toEqual([`${digest}  -\n`, ""]);
    expect(await echoed).toBe(`${digest} closed`);
    const refused = await client.run({ words: ["/tmp/dial"] });
    // ECONNRESET: nobody listens at that port any more.
    expect(refused.end).toEqual({ kind: "exited", status: 104 });

    // Many at a time.
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => client.run({ words: ["echo", String(index)] })),
    );
    expect(answers.map(({ output }) => text(output))).toEqual(answers.map((_, index) => `${index}\n`));

    // A command that waits is there for the original, and gone in its copies.
    let printed = "";
    const waiting = client.exec(
      { words: ["sh", "-c", "echo begun; read line; echo $line"] },
      { output: (part) => (printed += text(part)), errors: () => {} },
    );
    while (printed === "") await new Promise((resolve) => setTimeout(resolve, 10));
    machine.pause();
    const codec = await zstdCodec();
    const screens = [new Terminal(), new Terminal()];
    const { saved, twin } = await whileDrained(machine.state, async () => ({
      saved: Buffer.concat(encodeMachine(machine.state, codec).pieces),
      twin: machine.clone({ console: screens[0]! }),
    }));
    onTestFinished(() => twin.free());
    const again = make(screens[1]!, { beside: machine });
    restoreMachine(saved, again.state, codec);
    for (const [index, copy] of [twin, again].entries()) {
      const copySession = new Session(copy, screens[index]!);
      const copyClient = clientOf(copy);
      expect(text((await copyClient.run({ words: ["hostname"] })).output)).toBe("hyperfile\n");
      const echoedAgain = echo(copy.vsock!, 0x12345678);
      await copyClient.run({ words: ["/tmp/dial"] }, { input: bytes });
      expect(await echoedAgain).toBe(`${digest} closed`);
      // The command of the stream that is gone was ended.
      const left = await copyClient.run({ words: ["sh", "-c", "sleep 1; ps | grep -c '[e]cho begun'"] });
      expect(text(left.output)).toBe("0\n");
      expect(copy.statistics()).toMatchObject({ devices: expect.anything() });
      await copySession.stop();
    }
    machine.resume();
    await waiting.write(new TextEncoder().encode("on\n"));
    expect(await waiting.ended).toEqual({ kind: "exited", status: 0 });
    expect(printed).toBe("begun\non\n");
    const counters = machine.board.counters()["virtio0:vsock"]!;
    expect(counters).toMatchObject({ refused: 0, rejects: 0, transportResets: 0 });
    await session.stop();
  },
  900_000,
);
