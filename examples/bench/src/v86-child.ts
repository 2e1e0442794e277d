/** Runs one image in v86, in a process of its own: `v86-child.js MEBIBYTES IMAGE`. Prints the guest's output. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { V86 } from "v86";

const [mebibytes, image] = process.argv.slice(2);
if (mebibytes === undefined || image === undefined) {
  console.error("usage: v86-child.js MEBIBYTES IMAGE");
  process.exit(2);
}
const NEWLINE = 10;
const bytes = await readFile(image);
const emulator = new V86({
  wasm_path: createRequire(import.meta.url).resolve("v86/build/v86.wasm"),
  memory_size: Number(mebibytes) * 0x100000,
  vga_memory_size: 0x100000,
  multiboot: { buffer: new Uint8Array(bytes).buffer },
  autostart: false,
  disable_keyboard: true,
  disable_mouse: true,
  disable_speaker: true,
});
let output = "";
let started = 0;
emulator.add_listener("serial0-output-byte", (byte: number) => {
  output += String.fromCharCode(byte);
  if (byte !== NEWLINE) return;
  const seconds = (performance.now() - started) / 1000;
  process.stdout.write(`${output}seconds=${seconds.toFixed(6)}\n`, () => process.exit(0));
});
emulator.add_listener("emulator-ready", () => {
  started = performance.now();
  void emulator.run();
});
