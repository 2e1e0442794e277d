/**
 * A worker of Node that runs VMs, and its end. Two faults of Node 20 are kept from the process:
 *
 * - `import` has all modules of a program open at once, and those that are open when the thread ends stay so for as long as
 *   the process lives. So the program is loaded by `require`, which reads one after the other, each in one go.
 * - A thread that is ended while `require` links modules ends the process ("v8::Module::IsGraphAsync must be used on an
 *   instantiated module"), with all VMs. So one that loads is not ended, but told to end itself when it has loaded.
 */
import { Worker } from "node:worker_threads";
import type { GuestThreadData } from "../protocol.js";
import type { ThreadHandle } from "./guest-thread.js";

/**
 * JavaScript heap of one thread in MiB. It keeps one thread's share of the host's memory fixed, and contains nothing: V8 ends
 * the whole process where it can't free enough in time. So whatever a guest or a file can make grow has a limit of its own.
 */
const HEAP_MEBIBYTES = 1024;

/** How far a thread is: it loads its program, may be ended at any moment, or is to end itself as soon as it has loaded. */
const [LOADS, HAS_LOADED, IS_TO_END] = [0, 1, 2];

/** What a thread runs first. A program that waits at its top level can't be loaded by `require`. */
const LOADER = `
const { fileURLToPath } = require("node:url");
const { workerData } = require("node:worker_threads");
const hasLoaded = () => {
  if (Atomics.compareExchange(workerData.progress, 0, ${LOADS}, ${HAS_LOADED}) === ${IS_TO_END}) process.exit();
};
try {
  require(fileURLToPath(workerData.program));
  hasLoaded();
} catch (error) {
  hasLoaded();
  if (error.code !== "ERR_REQUIRE_ASYNC_MODULE") throw error;
  import(workerData.program);
}`;

/**
 * Starts a thread. Its `terminate` resolves when it is gone; for one that loads that is when it has loaded.
 * @param program file of a module that calls `serveGuests`
 */
export function startWorker(program: URL, data: GuestThreadData): ThreadHandle {
  const progress = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const worker = new Worker(LOADER, {
    eval: true,
    workerData: { ...data, program: program.href, progress },
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MEBIBYTES },
  });
  const gone = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  return {
    on: worker.on.bind(worker) as ThreadHandle["on"],
    postMessage: (message) => worker.postMessage(message),
    terminate: () =>
      Atomics.compareExchange(progress, 0, LOADS, IS_TO_END) === HAS_LOADED ? worker.terminate() : gone,
  };
}
