/** GDB's remote protocol, packet by packet, from debuggers that mean well and from others. */
import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { GdbSession, targetDescription } from "./gdb-protocol.js";
import type { DebugStop, DebugTarget } from "./target.js";

const MEMORY_BYTES = 0x100;
const BASE = 0x8000n;

/** A machine of two registers and a little memory that writes down what it is asked for. */
class FakeTarget implements DebugTarget {
  readonly architecture = "riscv:rv64";
  readonly addressBits = 64;
  readonly features = [
    {
      name: "general",
      isGeneral: true,
      registers: [
        { name: "a", number: 0, bits: 64 as const, type: "int" as const },
        { name: "b", number: 1, bits: 32 as const, type: "int" as const },
      ],
    },
    {
      name: "special",
      isGeneral: false,
      registers: [{ name: "c", number: 0x41, bits: 64 as const, type: "int" as const }],
    },
  ];
  readonly values = new Map<number, bigint>([
    [0, 0x0102030405060708n],
    [1, 0xabcdn],
    [0x41, 7n],
  ]);
  readonly memory = new Uint8Array(MEMORY_BYTES);
  readonly points: string[] = [];
  readonly commands = {
    greet: { help: "greet NAME: says hello", run: (name: string) => `hello ${name}` },
    fail: {
      help: "fail: fails",
      run: (): string => {
        throw new Error("out of #order}");
      },
    },
  };
  room = true;
  steps = 0;
  halts = 0;
  nextStop: DebugStop | undefined;
  stopped: ((stop: DebugStop) => void) | undefined;

  readRegister(register: number) {
    return this.values.get(register);
  }

  writeRegister(register: number, value: bigint) {
    this.values.set(register, value);
    return true;
  }

  readMemory(address: bigint, length: number) {
    const at = Number(address - BASE);
    return at >= 0 && at + length <= MEMORY_BYTES ? this.memory.slice(at, at + length) : undefined;
  }

  writeMemory(address: bigint, bytes: Uint8Array) {
    const at = Number(address - BASE);
    if (at < 0 || at + bytes.length > MEMORY_BYTES) return false;
    this.memory.set(bytes, at);
    return true;
  }

  setBreakpoint(address: bigint, enabled: boolean) {
    this.points.push(`${enabled ? "+" : "-"}break ${address.toString(16)}`);
    return this.room;
  }

  setWatchpoint(kind: string, address: bigint, length: number, enabled: boolean) {
    this.points.push(`${enabled ? "+" : "-"}${kind} ${address.toString(16)} ${length}`);
    return this.room;
  }

  step() {
    this.steps++;
    return this.nextStop;
  }

  resume(stopped: (stop: DebugStop) => void) {
    this.stopped = stopped;
  }

  halt() {
    this.halts++;
    this.stopped?.("halted");
  }
}

const sum = (body: string) =>
  [...body].reduce((total, character) => (total + character.charCodeAt(0)) & 255, 0);
const packet = (body: string) => `$${body}#${sum(body).toString(16).padStart(2, "0")}`;
const hex = (text: string) => Buffer.from(text, "latin1").toString("hex");

let target: FakeTarget;
let session: GdbSession;
let sent = "";
let ends: string[] = [];

beforeEach(() => {
  target = new FakeTarget();
  [sent, ends] = ["", []];
  session = new GdbSession({
    target,
    send: (bytes) => {
      sent += String.fromCharCode(...bytes);
    },
    ended: (how) => void ends.push(how),
  });
});

const give = (text: string) => session.receive(Buffer.from(text, "latin1"));

/** Sends a packet; gives the reply's body, or "" if there is none. */
function ask(body: string): string {
  sent = "";
  give(packet(body));
  const [, reply = ""] = /^\+(?:\$([\s\S]*)#[0-9a-f]{2})?$/.exec(sent) ?? ["", `malformed: ${sent}`];
  return reply;
}

describe("packets", () => {
  it("are acknowledged, refused by a wrong checksum, and sent again when asked for", () => {
    give("$?#3f");
    expect(sent).toBe("+$T05thread:01;#07");
    sent = "";
    give("$?#40$?#zz");
    expect(sent).toBe("--");
    sent = "";
    give("-");
    expect(sent).toBe("$T05thread:01;#07");
  });

  it("may come in any pieces, and begin anew at a $", () => {
    for (const byte of "+++$m80$?#3") give(byte);
    expect(sent).toBe("");
    give("f");
    expect(sent).toBe("+$T05thread:01;#07");
  });

  it("that are too long are dropped, and the next is heard", () => {
    give(`$${"a".repeat(100_000)}`);
    give(`#00${packet("?")}`);
    expect(sent).toBe("+$T05thread:01;#07");
  });
});

describe("registers", () => {
  it("come together, the general ones, and each by its number", () => {
    expect(ask("g")).toBe("0807060504030201cdab0000");
    expect([ask("p0"), ask("p1"), ask("p41")]).toEqual(["0807060504030201", "cdab0000", "0700000000000000"]);
    expect([ask("p2"), ask("p"), ask("px"), ask("pffffffff"), ask("p-1")]).toEqual(Array(5).fill("E01"));
  });

  it("are written whole, or not at all", () => {
    expect(ask("P41=0100000000000000")).toBe("OK");
    expect(target.values.get(0x41)).toBe(1n);
    for (const bad of [
      "P41=01",
      "P41=",
      "P41",
      "P41=zz00000000000000",
      `P41=${"0".repeat(16_000)}`,
      "P41=1=2",
    ])
      expect(ask(bad)).toBe("E22");
    expect(ask("P99=0100000000000000")).toBe("E01");
    expect(ask("Gffffffffffffffffxxxxxxxx")).toBe("OK");
    expect(target.values.get(0)).toBe(2n ** 64n - 1n);
    expect(target.values.get(1)).toBe(0xabcdn);
    for (const bad of ["G01", "G00000000000000000z", `G${"0".repeat(25)}`]) expect(ask(bad)).toBe("E22");
    expect(target.values.get(0)).toBe(2n ** 64n - 1n);
  });
});

describe("memory", () => {
  it("is read and written, in digits or in bytes", () => {
    expect(ask("M8000,4:01020304")).toBe("OK");
    expect(ask("X8004,3:ab}\x03")).toBe("OK");
    expect(ask("m8000,7")).toBe("01020304616223");
    expect([ask("m7fff,1"), ask("M8100,1:00")]).toEqual(["E14", "E14"]);
  });

  it("ranges that are malformed, too long or outside the address space are refused", () => {
    for (const bad of [
      "m",
      "m8000",
      "m8000,",
      "m8000,zz",
      "m8000,4,4",
      "m8000,ffffffff",
      "mffffffffffffffff,2",
    ])
      expect(ask(bad)).toBe("E22");
    for (const bad of ["M8000,4", "M8000,4:0102", "M8000,1:0", "M8000,1:zz", "M:", "X8000,1:ab"])
      expect(ask(bad)).toBe("E22");
    expect(target.memory.every((byte) => byte === 0)).toBe(true);
  });
});

describe("breakpoints and watchpoints", () => {
  it("are set and cleared by kind", () => {
    for (const body of ["Z0,8000,4", "z1,8000,2", "Z2,8010,8", "Z3,8010,4", "Z4,8010,1", "z4,8010,1"])
      expect(ask(body)).toBe("OK");
    expect(target.points).toEqual([
      "+break 8000",
      "-break 8000",
      "+write 8010 8",
      "+read 8010 4",
      "+access 8010 1",
      "-access 8010 1",
    ]);
  });

  it("are refused when malformed, unknown, or too many", () => {
    expect(ask("Z5,8000,4")).toBe("");
    for (const bad of ["Z0", "Z0,", "Z0,8000", "Z2,zz,4", "Z2,8000,zz", "Z2,8000,4,4"])
      expect(ask(bad)).toBe("E22");
    target.room = false;
    expect([ask("Z0,8000,4"), ask("Z2,8000,4")]).toEqual(["E28", "E28"]);
  });

  it("say which access stopped the machine", () => {
    for (const [watch, name] of [
      ["write", "watch"],
      ["read", "rwatch"],
      ["access", "awatch"],
    ] as const) {
      target.nextStop = { watch, address: 0x8010n };
      expect(ask("s")).toBe(`T05${name}:8010;thread:01;`);
    }
  });
});

describe("running", () => {
  it("goes on until the machine stops, or is asked to", () => {
    expect([ask("c"), ask("vCont;s:1;c")]).toEqual(["", "E16"]);
    sent = "";
    target.stopped!("breakpoint");
    expect(sent).toBe("$T05thread:01;#07");
    expect(ask("vCont;c")).toBe("");
    sent = "";
    give("\x03");
    expect([target.halts, sent]).toEqual([1, "$T02thread:01;#04"]);
  });

  it("nothing is read, written, stepped or resumed meanwhile", () => {
    ask("c");
    const first = target.stopped;
    for (const body of [
      "g",
      "p0",
      "m8000,1",
      "M8000,1:01",
      "s",
      "c",
      "Z0,8000,4",
      "P0=0000000000000000",
      "qRcmd,00",
    ])
      expect(ask(body)).toBe("E16");
    expect([target.stopped, target.steps, target.points]).toEqual([first, 0, []]);
    expect(ask("vKill;1")).toBe("OK");
    expect(ends).toEqual(["killed"]);
  });

  it("an end is an end", () => {
    expect(ask("D")).toBe("OK");
    give(packet("vKill;1") + packet("c"));
    expect([ends, target.stopped]).toEqual([["detached"], undefined]);
  });

  it("actions that there are not are refused", () => {
    expect([ask("vCont;x"), ask("vCont;"), ask("c8000")]).toEqual(["E22", "E22", "E22"]);
    expect(target.stopped).toBeUndefined();
  });
});

describe("the target's description", () => {
  it("names registers and numbers, and comes in parts", () => {
    const xml = targetDescription(target);
    expect(xml).toContain('<reg name="c" bitsize="64" regnum="65" type="int"/>');
    let got = "";
    for (let offset = 0; ; offset += 0x40) {
      const part = ask(`qXfer:features:read:target.xml:${offset.toString(16)},40`);
      got += part.slice(1);
      if (part[0] === "l") break;
      expect(part[0]).toBe("m");
    }
    expect(got).toBe(xml);
    for (const bad of ["", "0", "zz,40", "0,zz"])
      expect(ask(`qXfer:features:read:target.xml:${bad}`)).toBe("E22");
  });
});

describe("monitor", () => {
  const monitor = (text: string) => Buffer.from(ask(`qRcmd,${hex(text)}`), "hex").toString("latin1");

  it("helps, runs commands, and says of others that there are none", () => {
    expect(monitor("help")).toBe("help: this list\ngreet NAME: says hello\nfail: fails\n");
    expect(monitor("")).toBe(monitor("help"));
    expect(monitor(" greet  you ")).toBe("hello you\n");
    expect(monitor("constructor")).toBe("no such command: use monitor help\n");
    expect([ask("qRcmd,zz"), ask("qRcmd,0")]).toEqual(["E22", "E22"]);
  });

  it("answers a failure of the machine with its text", () => {
    expect(ask(`qRcmd,${hex("fail")}`)).toBe("E.out of  order ");
  });
});

it("whatever comes, every answer is well-formed and bounded, and nothing is thrown", () => {
  const letters = [..."?gGpPmMXZzcsvqQHTDk0123456789abcdef,;:=#$}-+\x03"];
  const body = fc.oneof(
    fc.array(fc.constantFrom(...letters), { maxLength: 60 }).map((all) => all.join("")),
    fc.string({ maxLength: 60 }),
    fc.constantFrom(
      "m0,ffffffffffffffff",
      "Xffffffffffffffff,8:abcdefgh",
      "P0=",
      "vCont",
      "qXfer:",
      "Z2,,",
      "qRcmd,",
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(body, fc.boolean()), { maxLength: 20 }), (all) => {
      const fresh = new FakeTarget();
      let out = "";
      const other = new GdbSession({
        target: fresh,
        send: (bytes) => {
          out += String.fromCharCode(...bytes);
        },
        ended: () => {},
      });
      for (const [text, framed] of all)
        other.receive(Buffer.from(framed ? packet(text.replace(/[#$]/g, "")) : text, "latin1"));
      expect(out.replace(/\$[^#$]*#[0-9a-f]{2}/g, "")).toMatch(/^[+-]*$/);
      expect(out.length).toBeLessThan(0x10000);
    }),
    { numRuns: 1000 },
  );
});
