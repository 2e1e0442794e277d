/** Puts a machine under GDB: the stub halts and resumes the run loop, and looks into the CPU while it stands. */
import type { DebugStop, DebugTarget } from "@hyperfile/broker";
import type { GdbServer } from "@hyperfile/broker/node";
import { RiscvDebug } from "@hyperfile/jit";
import type { RiscvVirt } from "@hyperfile/machine";
import { CliError } from "./errors.js";

/** A machine under a debugger. */
export interface Debugger {
  /** The machine has ended. */
  exited(): void;
}

/**
 * Listens for a debugger; the machine is halted until one lets it run.
 * @throws CliError `E_GDB` when the port can't be had
 */
export async function attachDebugger(machine: RiscvVirt, port: number): Promise<Debugger> {
  const { cpu, loop: vm } = machine;
  const look = new RiscvDebug(cpu);
  let stopped: ((stop: DebugStop) => void) | undefined;
  const tell = (stop: DebugStop) => {
    const callback = stopped;
    stopped = undefined;
    callback?.(stop);
  };
  const target: DebugTarget = {
    architecture: look.architecture,
    addressBits: look.addressBits,
    features: look.features,
    readRegister: (register) => look.readRegister(register),
    writeRegister: (register, value) => look.writeRegister(register, value),
    readMemory: (address, length) => look.readMemory(address, length),
    writeMemory: (address, bytes) => look.writeMemory(address, bytes),
    setBreakpoint: (address, enabled) => look.setBreakpoint(address, enabled),
    setWatchpoint: (kind, address, length, enabled) => look.setWatchpoint(kind, address, length, enabled),
    commands: look.commands,
    step: () => look.step(),
    resume(callback) {
      stopped = callback;
      look.beforeRun();
      vm.resume();
    },
    halt() {
      vm.pause();
      tell("halted");
    },
  };
  vm.pause();
  // Loaded only here: most runs have no debugger, and should start without it.
  const { serveGdb } = await import("@hyperfile/broker/node");
  let server: GdbServer;
  try {
    server = await serveGdb(target, port, {
      connected: () => vm.pause(),
      ended(how) {
        look.clearPoints();
        stopped = undefined;
        if (how === "killed") vm.stop("user");
        else vm.resume();
      },
    });
  } catch (cause) {
    throw new CliError("E_GDB", `can't listen for a debugger on port ${port}: choose another with --gdb`, {
      cause,
    });
  }
  machine.observe(() => {
    const stop = stopped === undefined ? undefined : look.stopReason();
    if (stop === undefined) return;
    vm.pause();
    tell(stop);
  });
  return {
    exited() {
      tell("exited");
      server.close();
    },
  };
}
