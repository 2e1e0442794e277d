/** Machines in web pages, by a few lines: each in a worker of its own. */
import { PageMachine, type PageMachineOptions } from "./page-machine.js";

export type { MachineEnd } from "../machine.js";
export { PageMachineError } from "./errors.js";
export type {
  MachineFile,
  MachineOutputEvent,
  PageMachine,
  PageMachineEvents,
  PageMachineOptions,
  WaitOptions,
} from "./page-machine.js";
export type { PageMachineState } from "./protocol.js";

/**
 * Starts a machine in a worker. It resolves when the guest runs: listeners that are added then, before anything else is
 * waited for, miss nothing of what it prints. Rejects with a {@link PageMachineError}.
 * @example
 * const machine = await startMachine({ kernel: "guest64.elf" });
 * await machine.waitFor("guest# ");
 * await machine.type("echo hello\n");
 */
export async function startMachine(options: PageMachineOptions): Promise<PageMachine> {
  const { machine, started } = PageMachine.begin(options);
  await started;
  return machine;
}
