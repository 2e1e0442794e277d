/**
 * Unmodified Debian on a virtio console, saved, restored and cloned: it is another machine at once, and its clock is right.
 * Left out where its files were never fetched (`npm start` does).
 */
import { RAM_BASE } from "@hyperfile/devices";
import { guestIn } from "@hyperfile/jit/memory";
import { riscvPool } from "@hyperfile/jit/riscv";
import { expect, it } from "vitest";
import { riscvVirt } from "../src/index.js";
import { encodeMachine, restoreMachine, zstdCodec } from "../src/snapshot/index.js";
import { DEBIAN_PROMPT, debianImages } from "./debian.js";
import { Session, Terminal } from "./session.js";

const RAM = 256 << 20;
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/;
const MINUTE = 60_000;
const images = debianImages();
const boot = { ...images, append: "console=hvc0" };

it.skipIf(images === undefined)(
  "Debian's clones and restores give other UUIDs at once, and a minute in a snapshot is made up for",
  async () => {
    const pool = riscvPool({ frameBytes: 3 * RAM });
    const make = (console: Terminal) =>
      riscvVirt({
        ramBytes: RAM,
        boot,
        console,
        memory: guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE }),
      });
    const terminal = new Terminal();
    const first = make(terminal);
    first.resize(100, 40);
    const original = new Session(first, terminal);
    await original.until(DEBIAN_PROMPT);
    // What is typed there is heard, and the terminal has the size of the host's, also of one that changes.
    expect(await original.command("tty; stty size")).toMatch(/^\/dev\/hvc0\n40 100$/m);
    original.machine.resize(132, 50);
    await expect.poll(() => original.command("stty size"), { timeout: 120_000 }).toMatch(/^50 132$/m);
    original.machine.pause();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const codec = await zstdCodec();
    const bytes = new Uint8Array(Buffer.concat(encodeMachine(original.machine.state, codec).pieces));
    const { clock } = original.machine.state.parts;
    const saved = clock!.save() as { ticks: number; wall: number };
    const clones = [1, 2].map(() => {
      const screen = new Terminal();
      return new Session(original.machine.clone({ console: screen }), screen);
    });
    const screen = new Terminal();
    const machine = riscvVirt({
      ramBytes: RAM,
      boot,
      console: screen,
      memory: guestIn(pool, { ramBytes: RAM, ramBase: RAM_BASE }),
      beside: original.machine,
    });
    restoreMachine(bytes, machine.state, codec, { lazy: true });
    machine.state.parts.clock!.restore({ ...saved, wall: saved.wall - MINUTE });
    const restored = new Session(machine, screen);

    const uuids: string[] = [];
    for (const session of [...clones, restored]) {
      const answer = await session.command("cat /proc/sys/kernel/random/uuid");
      uuids.push(UUID.exec(answer)![0]);
      expect(await session.command("dmesg | grep -c 'reseeded due to virtual machine fork'")).toMatch(/^1$/m);
    }
    original.machine.resume();
    uuids.push(UUID.exec(await original.command("cat /proc/sys/kernel/random/uuid"))![0]);
    expect(new Set(uuids).size).toBe(4);
    expect(await original.command("dmesg | grep -c 'reseeded due to virtual machine fork'")).toMatch(/^0$/m);

    // The counter passes the minute, and the date that the guest derives from it is the host's.
    await expect
      .poll(() => machine.clock.now() - saved.ticks, { timeout: 60_000 })
      .toBeGreaterThan(MINUTE * 10_000);
    /** Seconds that the guest's date is away from the host's, whatever asking it took. */
    const away = async (): Promise<number> => {
      const before = (Date.now() + MINUTE) / 1000;
      const date = Number(/^(\d{10})$/m.exec(await restored.command("date +%s"))![1]);
      return Math.max(0, before - date, date - (Date.now() + MINUTE) / 1000);
    };
    await expect.poll(away, { timeout: 120_000 }).toBeLessThan(3);
    expect(await restored.command("dmesg | grep -c -e 'soft lockup' -e 'detected stalls'")).toMatch(/^0$/m);
    for (const session of [...clones, restored, original]) await session.stop();
  },
  900_000,
);
