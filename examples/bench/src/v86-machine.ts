/**
 * A machine of the npm package v86 that runs one multiboot image without a BIOS, up to the line that the guest prints
 * on COM1. The image then halts for ever, so the machine is taken away.
 */
import { createRequire } from "node:module";
import { V86 } from "v86";

/** What the guest did. */
export interface V86Run {
  /** What it printed, with the end of the line. */
  readonly output: string;
  /** Seconds from the machine's start to the end of the line. */
  readonly seconds: number;
}

const NEWLINE = 10;
const VGA_BYTES = 0x100000;

/** Runs the image in a machine with that much memory; pending for ever if the guest never prints a line. */
export function runInV86(image: Uint8Array, mebibytes: number): Promise<V86Run> {
  const emulator = new V86({
    wasm_path: createRequire(import.meta.url).resolve("v86/build/v86.wasm"),
    memory_size: mebibytes * 0x100000,
    vga_memory_size: VGA_BYTES,
    multiboot: { buffer: new Uint8Array(image).buffer },
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  });
  return new Promise((resolve) => {
    let output = "";
    let started = 0;
    emulator.add_listener("serial0-output-byte", (byte: number) => {
      output += String.fromCharCode(byte);
      if (byte !== NEWLINE) return;
      const seconds = (performance.now() - started) / 1000;
      // After this event, so that the machine is not taken away under its own feet.
      setImmediate(() => void emulator.destroy().then(() => resolve({ output, seconds })));
    });
    emulator.add_listener("emulator-ready", () => {
      started = performance.now();
      void emulator.run();
    });
  });
}
