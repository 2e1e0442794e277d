/** A machine under a debugger: its run loop is halted and resumed, and its CPU looked into while it stands. */
import { RiscvDebug } from "@hyperfile/jit/riscv";
import type { RiscvVirt } from "../riscv-virt.js";
import type { GdbEnd } from "./gdb-protocol.js";
import type { DebugStop, DebugTarget } from "./target.js";

/** Debugs a machine, which stands still from now on until a debugger lets it run. */
export class MachineDebug {
  /** What a stub speaks to. */
  readonly target: DebugTarget;
  private readonly look: RiscvDebug;
  private stopped: ((stop: DebugStop) => void) | undefined;

  constructor(private readonly machine: RiscvVirt) {
    const look = new RiscvDebug(machine.cpu);
    this.look = look;
    this.target = {
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
      resume: (stopped) => {
        this.stopped = stopped;
        look.beforeRun();
        machine.resume();
      },
      halt: () => {
        machine.pause();
        this.tell("halted");
      },
    };
    machine.pause();
    machine.observe(() => {
      const stop = this.stopped === undefined ? undefined : look.stopReason();
      if (stop === undefined) return;
      machine.pause();
      this.tell(stop);
    });
  }

  /** A debugger has connected. */
  connected(): void {
    this.machine.pause();
  }

  /** It has left, and the machine goes on without its breakpoints, or it has killed the program. */
  ended(how: GdbEnd): void {
    this.look.clearPoints();
    this.stopped = undefined;
    if (how === "killed") this.machine.stop("user");
    else this.machine.resume();
  }

  /** The machine has ended. */
  exited(): void {
    this.tell("exited");
  }

  private tell(stop: DebugStop): void {
    const { stopped } = this;
    this.stopped = undefined;
    stopped?.(stop);
  }
}
