/** GDB's server for a machine. */
import type { RiscvVirt } from "../../riscv-virt.js";
import { MachineDebug } from "../machine-debug.js";
import { serveGdb } from "./gdb-server.js";

/** A machine that a debugger can connect to. */
export interface MachineGdb {
  /** The TCP port of the loopback interface. */
  readonly port: number;
  /** Tells the debugger that the machine's run has ended, and listens no more. */
  close(): void;
}

/**
 * Lets GDB connect to a machine, which stands still until it is let run.
 * @param port TCP port; 0 for any free one
 * @throws the listener's error, for instance when the port is taken; the machine stands still then, too
 */
export async function serveMachineGdb(machine: RiscvVirt, port: number): Promise<MachineGdb> {
  const debug = new MachineDebug(machine);
  const server = await serveGdb(debug.target, port, debug);
  return {
    port: server.port,
    close() {
      debug.exited();
      server.close();
    },
  };
}
