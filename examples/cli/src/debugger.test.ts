import { type AddressInfo, connect, createServer } from "node:net";
import { expect, it } from "vitest";
import { createMachine } from "./machine.js";

/** A port that nothing listens on. */
const freePort = () =>
  new Promise<number>((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => resolve(port));
    });
  });

/** A raw client of GDB's protocol: sends packets, gives replies. */
function client(port: number) {
  const socket = connect(port, "127.0.0.1");
  let buffer = "";
  const waiting: ((reply: string) => void)[] = [];
  socket.on("data", (data) => {
    buffer += data.toString("latin1");
    for (let match = /\$([^#]*)#../.exec(buffer); match !== null; match = /\$([^#]*)#../.exec(buffer)) {
      buffer = buffer.slice(match.index + match[0].length);
      socket.write("+");
      waiting.shift()?.(match[1]!);
    }
  });
  const sum = (body: string) =>
    [...body].reduce((total, character) => (total + character.charCodeAt(0)) & 255, 0);
  return {
    ask: (body: string) =>
      new Promise<string>((resolve) => {
        waiting.push(resolve);
        socket.write(`$${body}#${sum(body).toString(16).padStart(2, "0")}`);
      }),
    close: () => socket.destroy(),
  };
}

/** addi a0, a0, 1; addi a0, a0, 2; j . - 8, as an ELF file at the start of RAM. */
function program(): Uint8Array {
  const words = [0x00150513, 0x00250513, 0xff9ff06f];
  const bytes = new Uint8Array(120 + 4 * words.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(18, 243, true);
  view.setBigUint64(24, 0x80000000n, true);
  view.setBigUint64(32, 64n, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true);
  view.setUint32(64, 1, true);
  view.setUint32(68, 5, true);
  view.setBigUint64(72, 120n, true);
  view.setBigUint64(80, 0x80000000n, true);
  view.setBigUint64(88, 0x80000000n, true);
  view.setBigUint64(96, BigInt(4 * words.length), true);
  view.setBigUint64(104, BigInt(4 * words.length), true);
  words.forEach((word, index) => {
    view.setUint32(120 + 4 * index, word, true);
  });
  return bytes;
}

it("lets a debugger read, step, break, continue and kill", async () => {
  const port = await freePort();
  const machine = await createMachine({
    xlen: 64,
    memoryBytes: 1 << 20,
    elf: { name: "loop.elf", bytes: program() },
    append: "",
    tier: "js",
    console: { write: () => {} },
    verifyEmitted: "off",
    deterministic: false,
    gdbPort: port,
  });
  const run = machine.run();
  const gdb = client(port);
  expect(await gdb.ask("?")).toMatch(/^T05/);
  expect(await gdb.ask("qXfer:features:read:target.xml:0,4000")).toContain("riscv:rv64");
  expect(await gdb.ask("p20")).toBe("0000008000000000");
  expect(await gdb.ask("m80000000,4")).toBe("13051500");
  expect(await gdb.ask("s")).toMatch(/^T05/);
  expect(await gdb.ask("pa")).toBe("0100000000000000");
  expect(await gdb.ask("Z0,80000008,4")).toBe("OK");
  expect(await gdb.ask("c")).toMatch(/^T05/);
  expect(await gdb.ask("p20")).toBe("0800008000000000");
  expect(await gdb.ask("pa")).toBe("0300000000000000");
  // A second round of the loop comes back to the same breakpoint.
  expect(await gdb.ask("c")).toMatch(/^T05/);
  expect(await gdb.ask("pa")).toBe("0600000000000000");
  expect(await gdb.ask("Pa=6400000000000000")).toBe("OK");
  expect(await gdb.ask("pa")).toBe("6400000000000000");
  expect(await gdb.ask("m10,4")).toBe("E14");
  expect(await gdb.ask("vKill;1")).toBe("OK");
  expect((await run).kind).toBe("stopped");
  gdb.close();
});
