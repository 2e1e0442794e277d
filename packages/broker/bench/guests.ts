/** The guests that the experiments run: the embedded one, and Debian where its files are in the cache. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { zstdCodec } from "../../machine/src/snapshot/codec.js";
import { encodeMachine, restoreMachine } from "../../machine/src/snapshot/machine.js";
import type { TestHost, TestVm, TestVmOptions } from "../../machine/test/riscv-vm.js";

/** Bytes of a mebibyte. */
export const MEBIBYTE = 1 << 20;

/** The small operating system of this project. */
export const embedded = (ramBytes: number, options: Partial<TestVmOptions> = {}): TestVmOptions => ({
  kernel: readFileSync(new URL("../../../../examples/guest/bin/guest64.elf", import.meta.url)),
  ramBytes,
  ...options,
});

// Where `npm start` puts it (XDG base directories: a name that is not absolute is ignored).
const { XDG_CACHE_HOME: base } = process.env;
const caches = base !== undefined && isAbsolute(base) ? base : join(homedir(), ".cache");
const cache = join(caches, "hyperfile", "debian-trixie-riscv64");

/** Debian's kernel and busybox, as `hyperfile start` boots them; undefined where they were never fetched. */
export function debian(ramBytes: number, options: Partial<TestVmOptions> = {}): TestVmOptions | undefined {
  if (!existsSync(join(cache, "vmlinux"))) return undefined;
  return {
    kernel: readFileSync(join(cache, "vmlinux")),
    initrd: readFileSync(join(cache, "initramfs.cpio")),
    append: "console=ttyS0",
    ramBytes,
    background: true,
    ...options,
  };
}

/** What Debian's shell prompts with. */
export const DEBIAN_PROMPT = "# ";

/** A Debian at its prompt: booted once, then from a snapshot beside the system's temporary files. */
export async function debianAtPrompt(host: TestHost, options: TestVmOptions): Promise<TestVm> {
  const { ramBytes, virtualTime = true, balloon = false, seed = 0 } = options;
  const kind = `${ramBytes / MEBIBYTE}-${virtualTime ? "virtual" : "real"}${balloon ? "-balloon" : ""}-${seed}`;
  const path = join(tmpdir(), `hyperfile-debian-${kind}.snapshot`);
  const codec = await zstdCodec();
  if (existsSync(path)) {
    const vm = host.make(options);
    try {
      restoreMachine(readFileSync(path), vm.machine, codec);
      return vm;
    } catch (error) {
      console.log(`${path} is of no use: ${(error as Error).message}`);
      vm.destroy();
    }
  }
  const vm = host.boot(options);
  const started = performance.now();
  while (!vm.output.includes(DEBIAN_PROMPT) && vm.cpu.retired() < 8e9 && !vm.off) {
    vm.runUntil(DEBIAN_PROMPT, 2e6);
    // Regions that were compiled in the background come into place here.
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (!vm.output.includes(DEBIAN_PROMPT)) throw new Error(`no prompt: ${vm.output.slice(-500)}`);
  vm.runTo(vm.cpu.retired() + 1e6);
  console.log(`Debian booted to its prompt in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  const { pieces } = encodeMachine(vm.machine, codec);
  writeFileSync(path, Buffer.concat(pieces));
  return vm;
}

/** Runs a command at a Debian's prompt; gives what it printed and the instructions that it took. */
export async function command(
  vm: TestVm,
  text: string,
  limit = 20e9,
): Promise<{ output: string; instructions: number }> {
  vm.output = "";
  const before = vm.cpu.retired();
  // The echo of what is typed is not the answer.
  vm.type(`${text}; echo do''ne\n`);
  while (!vm.output.includes("done\r\n") && vm.cpu.retired() - before < limit) {
    const at = vm.cpu.retired();
    vm.runUntil("done\r\n", 20e6);
    if (vm.cpu.retired() === at) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (!vm.output.includes("done\r\n")) throw new Error(`${text} does not end: ${vm.output.slice(-500)}`);
  return { output: vm.output, instructions: vm.cpu.retired() - before };
}

/** Resident bytes of this process, after a collection of garbage. */
export function residentBytes(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage.rss();
}

/** A figure with its unit, aligned. */
export function report(what: string, value: number, unit: string, digits = 1): void {
  console.log(`${what.padEnd(64)} ${value.toFixed(digits).padStart(10)} ${unit}`);
}
