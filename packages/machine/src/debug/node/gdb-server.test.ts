/** The stub's listener: one debugger at a time, and none that can make its replies pile up. */
import { connect } from "node:net";
import { expect, it } from "vitest";
import type { DebugTarget } from "../target.js";
import { serveGdb } from "./gdb-server.js";

const REGISTERS = 1024;

/** A target whose registers make a long reply. */
function bigTarget(): DebugTarget & { asked: number } {
  const target = {
    architecture: "riscv:rv64",
    addressBits: 64 as const,
    features: [
      {
        name: "many",
        isGeneral: true,
        registers: Array.from({ length: REGISTERS }, (_, number) => ({
          name: `r${number}`,
          number,
          bits: 64 as const,
          type: "int" as const,
        })),
      },
    ],
    asked: 0,
    readRegister: () => {
      target.asked++;
      return 0n;
    },
    writeRegister: () => true,
    readMemory: () => undefined,
    writeMemory: () => false,
    setBreakpoint: () => true,
    setWatchpoint: () => true,
    commands: {},
    step: () => undefined,
    resume() {},
    halt() {},
  };
  return target;
}

it("does not hear a debugger that does not read its replies, and hears the next one", async () => {
  const target = bigTarget();
  let left = () => {};
  const hasLeft = new Promise<void>((resolve) => {
    left = resolve;
  });
  const server = await serveGdb(target, 0, { connected: () => {}, ended: () => left() });
  const deaf = connect(server.port, "127.0.0.1");
  deaf.on("error", () => {});
  deaf.pause();
  const requests = Buffer.from("$g#67".repeat(10_000));
  const wanted = 200;
  for (let sent = 0; sent < wanted; sent++) deaf.write(requests);
  // It stops answering while most of what was asked is still to be read.
  let before = -1;
  while (before !== target.asked || before === 0) {
    before = target.asked;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  expect(target.asked / REGISTERS).toBeLessThan((wanted * 10_000) / 4);
  const second = connect(server.port, "127.0.0.1");
  second.on("error", () => {});
  await new Promise((resolve) => second.once("close", resolve));
  deaf.destroy();
  await hasLeft;
  const third = connect(server.port, "127.0.0.1");
  const reply = await new Promise<string>((resolve) => {
    third.once("data", (data) => resolve(data.toString("latin1")));
    third.write("$?#3f");
  });
  expect(reply).toContain("$T05");
  third.destroy();
  server.close();
}, 60_000);
