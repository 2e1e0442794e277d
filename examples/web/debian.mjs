// Puts Debian into the built pages: its kernel, its initial file system, and a machine that has booted to its shell.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { noOutside, Switch, UserNetwork } from "@hyperfile/devices/net";
import { riscvVirt } from "@hyperfile/machine";
import { debianBoot, initReachedText } from "@hyperfile/machine/debian";
import { saveSnapshotFile } from "@hyperfile/machine/node";

const RAM_BYTES = 128 * 2 ** 20;
const BOOT_MS = 180_000;
/** Of its network card; who goes on from the snapshot gives it another. */
const MAC = "52:54:00:12:34:56";

/**
 * @param dist folder of the built pages
 * @throws DebianError where Debian's files are not in the cache and can't be fetched
 */
export async function addDebian(dist) {
  const boot = await debianBoot();
  const folder = join(dist, "debian");
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "kernel"), boot.kernel.bytes);
  await writeFile(join(folder, "initrd"), boot.initrd.bytes);
  await saveBooted(boot, join(folder, "booted.snapshot"));
  const release =
    /Linux version (\S+)/.exec(Buffer.from(boot.kernel.bytes).toString("latin1"))?.[1] ?? "riscv64";
  const debian = {
    ...{ release, kernel: "kernel", initrd: "initrd", append: boot.append },
    snapshot: { file: "booted.snapshot", ramBytes: RAM_BYTES },
  };
  await writeFile(join(dist, "guests.json"), JSON.stringify({ debian }));
}

/** Boots a machine to its shell's prompt, and saves it. */
async function saveBooted(boot, path) {
  let text = "";
  let note = () => {};
  // The shell asks for the cursor's place after its prompt.
  const isReady = () =>
    text.includes(initReachedText) && ["# ", "# \x1b[6n"].some((prompt) => text.endsWith(prompt));
  // It gets an address, so that it need not wait for one.
  const network = new Switch();
  const gateway = new UserNetwork({ network, outside: noOutside });
  const machine = riscvVirt({
    ramBytes: RAM_BYTES,
    boot,
    nics: [{ network, mac: MAC }],
    vsock: {},
    console: {
      write(bytes) {
        text += Buffer.from(bytes).toString("latin1");
        if (isReady()) note();
      },
    },
  });
  const ended = machine.run();
  const ready = new Promise((resolve, reject) => {
    note = resolve;
    const timer = setTimeout(
      () => reject(new Error(`Debian did not reach its shell: ${text.slice(-200)}`)),
      BOOT_MS,
    );
    timer.unref();
    ended.then(() => reject(new Error(`Debian ended while it booted: ${text.slice(-200)}`)), reject);
  });
  try {
    await ready;
    machine.pause();
    await saveSnapshotFile(path, machine.state);
  } finally {
    machine.stop("saved");
    await ended.catch(() => {});
    machine.free();
    gateway.close();
  }
}
