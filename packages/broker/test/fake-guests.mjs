// A thread's program whose guests are small: a console with a shell like the embedded guest's, and a hart that only
// counts. Commands: echo, remember and recall, fill PAGES and check (its memory), hog, flood MEBIBYTES (without end if
// no number is given), deaf (reads no more), off STATUS, crash, and anything else fails with status 1. Programs listen at
// some ports: 7 echoes, 9 takes nothing, 19 sends without end, 13 says a word and ends; others refuse. One that is called
// polite ends when it is asked to.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PAGE_SIZE } from "../../jit/dist/engine.js";
import { guestIn, poolAt } from "../../jit/dist/memory.js";
import { RealClock, Vm } from "../../machine/dist/vm.js";
import { serveGuests } from "../dist/node.js";

const encoder = new TextEncoder();
const RAM = 0x80000000;

class FakeGuest {
  constructor(spec, surroundings, pool, ram) {
    this.spec = spec;
    this.surroundings = surroundings;
    this.pool = pool;
    this.ram = ram;
    this.memory = {
      frames: pool.pool,
      common: {
        yield: () => pool.frames.yield(),
        awaitRelease: (milliseconds) => pool.frames.table.awaitRelease(milliseconds),
      },
      memory: ram,
      balloon: {
        setTarget() {},
        target: 0,
        actual: 0,
        live: false,
        statistics: {},
        requestStatistics() {},
      },
      reservedFrame: () => -1,
    };
    this.filled = 0;
    this.line = "";
    this.count = 0;
    this.isBusy = false;
    this.flood = 0;
    this.isDeaf = false;
    this.isBroken = false;
    this.memoryText = "";
    this.vm = new Vm({
      hart: {
        run: (budget) => {
          if (this.flood > 0) {
            this.flood--;
            surroundings.console.write(new Uint8Array(4096).fill(0x78));
            return "stop";
          }
          if (!this.isBusy) return "wait";
          this.count += budget;
          const until = performance.now() + 0.3;
          while (performance.now() < until);
          return "budget";
        },
        pollTimer() {},
        deadline: () => Infinity,
        wakeReady: () => this.isBusy || this.flood > 0,
        retired: () => this.count,
      },
      board: { tick() {}, deadline: () => Infinity, flush() {}, reset: () => this.print("reset\r\n") },
      clock: new RealClock(),
      load: () => this.print("guest# "),
      gate: surroundings.gate(() => this.count),
    });
  }

  print(text) {
    if (this.isBroken) return;
    this.surroundings.console.write(encoder.encode(text));
  }

  async run() {
    const end = await this.vm.run();
    if (end.kind === "off") return { kind: "off", status: end.status };
    return { kind: "stopped", status: 0, ...(end.reason === "stopped" ? {} : { message: end.reason }) };
  }

  receive(bytes) {
    if (this.isDeaf) return 0;
    for (const char of new TextDecoder().decode(bytes)) {
      this.print(char === "\n" ? "\r\n" : char);
      if (char !== "\n") {
        this.line += char;
        continue;
      }
      for (const command of this.line.split(";")) this.obey(command.trim());
      this.line = "";
      this.print("guest# ");
    }
    this.vm.wake();
    return bytes.length;
  }

  obey(command) {
    const [name, ...rest] = command.split(" ");
    if (name === "echo") this.print(`${rest.join(" ")}\r\n`);
    else if (name === "remember") this.memoryText = rest.join(" ");
    else if (name === "recall") this.print(`${this.memoryText}\r\n`);
    else if (name === "fill") this.fill(Number(rest[0]));
    else if (name === "check") this.print(`${this.wrongPages()} wrong of ${this.filled}\r\n`);
    else if (name === "flood") this.flood = rest[0] === undefined ? Infinity : Number(rest[0]) * 256;
    else if (name === "deaf") this.isDeaf = true;
    else if (name === "hog") this.isBusy = true;
    else if (name === "poweroff" || name === "off")
      this.vm.requestPower({ kind: "off", status: Number(rest[0] ?? 0) });
    else if (name === "crash") {
      this.isBroken = true;
      setTimeout(() => {
        throw new Error("the guest's thread broke");
      });
    } else if (name !== "") this.print(`${name} (5): status 1\r\n`);
  }

  /** Writes words of its own to its first pages. */
  fill(pages) {
    const page = new Int32Array(PAGE_SIZE / 4);
    const bytes = new Uint8Array(page.buffer);
    for (let at = 0; at < pages; at++) {
      page.fill(at * 31 + this.spec.name.charCodeAt(0));
      if (!this.ram.write(RAM + at * PAGE_SIZE, bytes)) {
        this.print(`no frame for page ${at}\r\n`);
        return;
      }
    }
    this.filled = pages;
    this.print(`filled ${pages}\r\n`);
  }

  wrongPages() {
    const page = new Int32Array(PAGE_SIZE / 4);
    const bytes = new Uint8Array(page.buffer);
    let wrong = 0;
    for (let at = 0; at < this.filled; at++) {
      this.ram.read(RAM + at * PAGE_SIZE, bytes);
      if (!page.every((word) => word === at * 31 + this.spec.name.charCodeAt(0))) wrong++;
    }
    return wrong;
  }

  connect(port, events) {
    const later = (what) => setImmediate(() => isOpen && what());
    let isOpen = true;
    let isReading = true;
    let waiting = 0;
    const flood = () => {
      for (let sent = 0; isReading && sent < 16; sent++) events.data(new Uint8Array(16_384));
      if (isReading) later(flood);
    };
    if (this.spec.name === "mute") later(() => events.failed("no-driver"));
    else if (![7, 9, 13, 19].includes(port)) later(() => events.failed("refused"));
    else {
      later(() => events.opened());
      if (port === 19) later(flood);
      if (port === 13)
        later(() => {
          events.data(encoder.encode("now"));
          events.ended();
          events.closed(false);
        });
    }
    return {
      write: (data) => {
        waiting += data.length;
        if (port === 7) {
          later(() => {
            waiting -= data.length;
            events.data(data);
            events.drained();
          });
        }
        return waiting < 65_536;
      },
      end: () => later(() => events.closed(false)),
      reset: () => {
        isOpen = false;
      },
      setReading: (value) => {
        isReading = value;
        if (value && port === 19) later(flood);
      },
    };
  }

  async powerOff() {
    if (this.spec.name !== "polite") throw new Error("there is nobody to ask");
    this.vm.requestPower({ kind: "off", status: 0 });
  }

  resize() {}
  hold() {
    this.vm.hold();
  }
  release() {
    this.vm.release();
  }
  /** It has no devices that could be at work. */
  async drain() {
    return () => {};
  }

  standStill() {
    return this.vm.standStill();
  }
  async restoreFrom(path) {
    const text = await readFile(path, "utf8");
    if (text === "damaged")
      throw Object.assign(new Error("the snapshot is damaged"), { code: "E_SNAPSHOT_DAMAGED" });
    this.memoryText = text;
  }
  stop(reason) {
    this.vm.stop(reason);
  }
  reset() {
    this.vm.requestPower({ kind: "reset" });
  }
  retired() {
    return this.count;
  }
  memoryFigures() {
    return this.ram.usage();
  }
  counters() {
    return { "uart0.sent": 1, "vm.holds": this.vm.counters.holds };
  }
  async backup() {
    return { bytes: 0, isWhole: true };
  }

  async saveTo(path) {
    await writeFile(path, this.memoryText);
    return { bytes: this.memoryText.length };
  }
  async clone(name, surroundings) {
    const twin = new FakeGuest({ ...this.spec, name }, surroundings, this.pool, this.ram.share());
    twin.memoryText = this.memoryText;
    return twin;
  }
  async successor(surroundings) {
    const { guest } = guestIn(this.pool, { ramBytes: this.spec.memoryBytes, ramBase: RAM });
    return new FakeGuest(this.spec, surroundings, this.pool, guest);
  }
  free() {
    this.ram.free();
  }
}

/** The thread's pool, for all its VMs. */
let pool;

serveGuests(async (spec, surroundings, { folder, place }) => {
  if (spec.boot.program === "./bad.elf") throw Object.assign(new Error("no program"), { code: "E_FILE" });
  if (spec.boot.program === "./crash.elf") {
    setTimeout(() => {
      throw new Error("the guest's thread broke");
    });
    await new Promise(() => {});
  }
  // Boot files that take a while to read.
  if (spec.boot.program === "./reading.elf")
    for (let times = 0; times < 40; times++) await readFile(join(folder, spec.boot.program));
  pool ??= poolAt(place);
  const { guest: ram } = guestIn(pool, { ramBytes: spec.memoryBytes, ramBase: RAM });
  const guest = new FakeGuest(spec, surroundings, pool, ram);
  const [, status] = /^\.\/off(\d)\.elf$/.exec(spec.boot.program ?? "") ?? [];
  if (status !== undefined) guest.vm.requestPower({ kind: "off", status: Number(status) });
  return guest;
});
