// A thread that burns CPU time whenever it holds a core, in the way a VM's does: told by messages to pause, end or fail.
import { readlinkSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { ControlTable, SharedGate } from "../dist/cpu.js";

const { buffer, slot, sleepEvery, sleepFor } = workerData;
const table = new ControlTable(buffer);
table.setThread(slot, Number(readlinkSync("/proc/thread-self").split("/").pop()));
const gate = new SharedGate(table, slot);
let over = false;
parentPort.on("message", (message) => {
  if (message === "fail") throw new Error("the thread was told to fail");
  over = true;
  gate.cancel();
});
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
while (!over) {
  await gate.acquire();
  let turn = performance.now();
  while (!over && gate.mayContinue()) {
    const until = performance.now() + 0.4;
    while (performance.now() < until);
    if (sleepEvery > 0 && performance.now() - turn >= sleepEvery) {
      gate.release("idle");
      await pause(sleepFor);
      await gate.acquire();
      turn = performance.now();
    }
    if (performance.now() - turn > 4) await pause(0);
  }
  gate.release(over ? "stopped" : "ready");
  await pause(0);
}
gate.release("stopped");
parentPort.close();
