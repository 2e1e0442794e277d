/**
 * The supervisor binary interface, version 2.0, served by the host: a kernel in S mode needs no firmware.
 * Extensions: BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN, STA where the platform accounts steal time, and the legacy
 * calls for console, timer and shutdown (RISC-V SBI specification, chapters 4 to 12 and 16).
 */
import { Exit } from "../../memory/layout.js";
import type { RiscvHart, SupervisorBinary } from "./hart.js";
import { Wide } from "./hart-state.js";
import { RiscvInterrupt, RiscvMode, RiscvStatus } from "./privilege.js";
import { clearStealArea, NO_STEAL_AREA, STEAL_AREA_BYTES } from "./steal-time.js";

/** What the calls act on besides the hart. */
export interface SbiPlatform {
  /** All harts, by hart id. */
  readonly harts: () => readonly RiscvHart[];
  /** Guest RAM for console buffers; false where any byte lies outside. */
  readonly memory: {
    /** Whether `length` bytes at `gpa` lie in RAM. */
    contains(gpa: number, length: number): boolean;
    read(gpa: number, target: Uint8Array): boolean;
    write(gpa: number, source: Uint8Array): boolean;
  };
  readonly console: {
    write(bytes: Uint8Array): void;
    /** At most `limit` bytes of input that have arrived. */
    read(limit: number): Uint8Array;
  };
  readonly onPower: (event: { kind: "off"; status: number } | { kind: "reset" }) => void;
  /** Whether the machine's owner writes steal time where `HartState.stealArea` says: then guests are offered STA. */
  readonly stealTime?: boolean;
}

/** Extension identifiers. */
const Extension = {
  setTimer: 0x00,
  putchar: 0x01,
  getchar: 0x02,
  clearIpi: 0x03,
  sendIpi: 0x04,
  remoteFenceI: 0x05,
  remoteSfence: 0x06,
  remoteSfenceAsid: 0x07,
  shutdown: 0x08,
  base: 0x10,
  time: 0x54494d45,
  ipi: 0x735049,
  rfence: 0x52464e43,
  hsm: 0x48534d,
  srst: 0x53525354,
  dbcn: 0x4442434e,
  sta: 0x535441,
} as const;

const SUCCESS = 0;
const FAILED = -1;
const NOT_SUPPORTED = -2;
const INVALID_PARAMETER = -3;
const INVALID_ADDRESS = -5;
const ALREADY_AVAILABLE = -6;

/** Version 2.0: major in bits 30-24, minor in bits 23-0. */
const SPECIFICATION_VERSION = 2 << 24;
/** Implementation identifier: none is registered for this one, so it takes a value outside the list. */
const IMPLEMENTATION_ID = 0x48595046;
const IMPLEMENTATION_VERSION = 1;
/** Most bytes that one console call moves. */
const CONSOLE_CHUNK = 4096;

const A0 = 10;
const A1 = 11;
const A2 = 12;
const A6 = 16;
const A7 = 17;

/** Makes the firmware. */
export function supervisorBinary(platform: SbiPlatform): SupervisorBinary {
  return {
    call(hart) {
      const extension = number32(hart, A7);
      if (extension >= Extension.setTimer && extension <= Extension.shutdown) {
        hart.writeX(A0, ...signed(legacy(platform, hart, extension)));
        return;
      }
      const { error, value } = serve(platform, hart, extension, number32(hart, A6));
      hart.writeX(A0, ...signed(error));
      if (typeof value === "number") hart.writeX(A1, ...signed(value));
      else hart.writeX(A1, value.low, value.high);
    },
  };
}

/** What a call leaves in a0 and a1; a register's halves where the guest chose them. */
interface Outcome {
  readonly error: number;
  readonly value: number | { readonly low: number; readonly high: number };
}

const outcome = (error: number, value: Outcome["value"] = 0): Outcome => ({ error, value });
const signed = (value: number): [number, number] => [value | 0, Math.floor(value / 0x100000000) | 0];

/** Stands for a register that holds no sign-extended 32-bit number, which no identifier is. */
const NO_NUMBER = Number.NaN;

/** A signed 32-bit number in a register, as identifiers of extensions and functions are (chapter 3). */
function number32(hart: RiscvHart, register: number): number {
  const low = hart.readXLow(register);
  return hart.options.xlen === 32 || hart.readXHigh(register) === low >> 31 ? low : NO_NUMBER;
}

function serve(platform: SbiPlatform, hart: RiscvHart, extension: number, call: number): Outcome {
  switch (extension) {
    case Extension.base:
      return base(platform, hart, call);
    case Extension.time:
      if (call !== 0) return outcome(NOT_SUPPORTED);
      setTimer(hart);
      return outcome(SUCCESS);
    case Extension.ipi:
      if (call !== 0) return outcome(NOT_SUPPORTED);
      return forHarts(platform, hart, A0, A1, raiseSoftware);
    case Extension.rfence:
      return remoteFence(platform, hart, call);
    case Extension.hsm:
      return hartState(platform, hart, call);
    case Extension.srst:
      return call === 0 ? systemReset(platform, hart) : outcome(NOT_SUPPORTED);
    case Extension.dbcn:
      return debugConsole(platform, hart, call);
    case Extension.sta:
      return platform.stealTime === true && call === 0
        ? setStealArea(platform, hart)
        : outcome(NOT_SUPPORTED);
    default:
      return outcome(NOT_SUPPORTED);
  }
}

/** Chapter 4. */
function base(platform: SbiPlatform, hart: RiscvHart, call: number): Outcome {
  switch (call) {
    case 0:
      return outcome(SUCCESS, SPECIFICATION_VERSION);
    case 1:
      return outcome(SUCCESS, IMPLEMENTATION_ID);
    case 2:
      return outcome(SUCCESS, IMPLEMENTATION_VERSION);
    case 3: {
      const known: readonly number[] = Object.values(Extension);
      const asked = number32(hart, A0);
      const offered = known.includes(asked) && (asked !== Extension.sta || platform.stealTime === true);
      return outcome(SUCCESS, offered ? 1 : 0);
    }
    case 4:
    case 5:
    case 6:
      return outcome(SUCCESS, 0);
    default:
      return outcome(NOT_SUPPORTED);
  }
}

/** An interprocessor interrupt is the software bit of `sip`, which the kernel clears itself. */
const raiseSoftware = (target: RiscvHart): void => {
  target.state.software |= 1 << RiscvInterrupt.supervisorSoftware;
};

/** Chapter 6: programs the supervisor timer, which the hart compares with the clock by itself. */
function setTimer(hart: RiscvHart): void {
  const { wide } = hart.state;
  wide[2 * Wide.stimecmp] = hart.readXLow(A0);
  wide[2 * Wide.stimecmp + 1] = hart.options.xlen === 64 ? hart.readXHigh(A0) : hart.readXLow(A1);
  hart.pollTimer();
}

/** Runs `action` on the harts of a mask and base (chapter 3.1); a base of all ones means every hart. */
function forHarts(
  platform: SbiPlatform,
  hart: RiscvHart,
  maskRegister: number,
  baseRegister: number,
  action: (target: RiscvHart) => void,
): Outcome {
  const harts = platform.harts();
  const low = hart.readXLow(maskRegister);
  const high = hart.readXHigh(maskRegister);
  const first = hart.readXLow(baseRegister);
  const all = first === -1 && (hart.options.xlen === 32 || hart.readXHigh(baseRegister) === -1);
  if (all) {
    harts.forEach(action);
    return outcome(SUCCESS);
  }
  if (first < 0 || (hart.options.xlen === 64 && hart.readXHigh(baseRegister) !== 0))
    return outcome(INVALID_PARAMETER);
  const chosen: RiscvHart[] = [];
  for (let bit = 0; bit < hart.options.xlen; bit++) {
    if ((((bit < 32 ? low : high) >>> (bit & 31)) & 1) === 0) continue;
    const target = harts[first + bit];
    if (target === undefined) return outcome(INVALID_PARAMETER);
    chosen.push(target);
  }
  chosen.forEach(action);
  return outcome(SUCCESS);
}

/** As `fence.i` there: what a store to code made void was left with the store. */
function fenceInstructions(hart: RiscvHart): void {
  hart.counters.fenceI++;
}

/** Chapter 8. Everything but `fence.i` drops translations; without identifiers and a hypervisor all are alike. */
function remoteFence(platform: SbiPlatform, hart: RiscvHart, call: number): Outcome {
  if (call === 0) return forHarts(platform, hart, A0, A1, fenceInstructions);
  if (call === 1 || call === 2)
    return forHarts(platform, hart, A0, A1, (target) => target.options.tlb.flush());
  return outcome(NOT_SUPPORTED);
}

/** Chapter 9: harts start when the machine does, so starting one finds it running. */
function hartState(platform: SbiPlatform, hart: RiscvHart, call: number): Outcome {
  const harts = platform.harts();
  const target = harts[number32(hart, A0)];
  switch (call) {
    case 0:
      return target === undefined ? outcome(INVALID_PARAMETER) : outcome(ALREADY_AVAILABLE);
    case 1:
      // A hart that stops itself never runs again: with the last one the machine has nothing left to do.
      hart.state.mie = 0;
      hart.waiting = true;
      hart.requestExit(Exit.wait);
      return outcome(SUCCESS);
    case 2:
      return target === undefined ? outcome(INVALID_PARAMETER) : outcome(SUCCESS, 0);
    case 3:
      return suspend(hart);
    default:
      return outcome(NOT_SUPPORTED);
  }
}

/** Default retentive suspend waits like WFI; default non-retentive resumes at an address with interrupts off. */
function suspend(hart: RiscvHart): Outcome {
  const kind = hart.readXLow(A0);
  if (kind !== 0 && kind !== -0x80000000) return outcome(INVALID_PARAMETER);
  const opaque = { low: hart.readXLow(A2), high: hart.readXHigh(A2) };
  if (kind !== 0) {
    const [low, high] = [hart.readXLow(A1), hart.readXHigh(A1)];
    hart.state.status &= ~RiscvStatus.sie;
    hart.state.wide[2 * Wide.satp] = 0;
    hart.state.wide[2 * Wide.satp + 1] = 0;
    hart.state.mode = RiscvMode.supervisor;
    hart.pagingChanged();
    hart.setPc(low, high);
  }
  if (!hart.wakeReady()) {
    hart.waiting = true;
    hart.requestExit(Exit.wait);
  }
  // The hart resumes with its identifier in a0, and the argument in a1.
  return kind === 0 ? outcome(SUCCESS) : { error: hart.options.hartId, value: opaque };
}

/** Chapter 10. */
function systemReset(platform: SbiPlatform, hart: RiscvHart): Outcome {
  const kind = hart.readXLow(A0);
  const reason = hart.readXLow(A1);
  if (kind < 0 || kind > 2 || reason < 0 || reason > 1) return outcome(INVALID_PARAMETER);
  platform.onPower(kind === 0 ? { kind: "off", status: reason === 0 ? 0 : 1 } : { kind: "reset" });
  hart.requestExit(Exit.stop);
  return outcome(SUCCESS);
}

/** Chapter 12: the buffer is in guest-physical memory. */
function debugConsole(platform: SbiPlatform, hart: RiscvHart, call: number): Outcome {
  if (call === 2) {
    platform.console.write(Uint8Array.of(hart.readXLow(A0) & 0xff));
    return outcome(SUCCESS);
  }
  if (call !== 0 && call !== 1) return outcome(NOT_SUPPORTED);
  const wide = hart.options.xlen === 64;
  const length = hart.readXLow(A0) >>> 0;
  const gpa =
    (hart.readXLow(A1) >>> 0) + (wide ? hart.readXHigh(A1) >>> 0 : hart.readXLow(A2) >>> 0) * 0x100000000;
  const beyond = wide && ((hart.readXLow(A2) | hart.readXHigh(A2)) !== 0 || hart.readXHigh(A0) !== 0);
  if (beyond || !Number.isSafeInteger(gpa) || !platform.memory.contains(gpa, length))
    return outcome(INVALID_PARAMETER);
  const chunk = Math.min(length, CONSOLE_CHUNK);
  if (call === 0) {
    const bytes = new Uint8Array(chunk);
    platform.memory.read(gpa, bytes);
    platform.console.write(bytes);
    return outcome(SUCCESS, chunk);
  }
  const bytes = platform.console.read(chunk);
  return platform.memory.write(gpa, bytes) ? outcome(SUCCESS, bytes.length) : outcome(FAILED);
}

/** Chapter 16: where steal time is written; an address of all ones ends it. */
function setStealArea({ memory }: SbiPlatform, hart: RiscvHart): Outcome {
  const wide = hart.options.xlen === 64;
  const [low, high] = [hart.readXLow(A0), hart.readXLow(A1)];
  const flags = hart.readXLow(A2) | hart.readXHigh(A2);
  if (flags !== 0) return outcome(INVALID_PARAMETER);
  const upper = wide ? hart.readXHigh(A0) : high;
  const beyond = wide && (high | hart.readXHigh(A1)) !== 0;
  const isAllOnes = (low & upper & high & (wide ? hart.readXHigh(A1) : -1)) === -1;
  if (isAllOnes) {
    hart.state.stealArea = NO_STEAL_AREA;
    return outcome(SUCCESS);
  }
  if (low % STEAL_AREA_BYTES !== 0) return outcome(INVALID_PARAMETER);
  const gpa = (low >>> 0) + (upper >>> 0) * 0x100000000;
  if (beyond || !Number.isSafeInteger(gpa) || !memory.contains(gpa, STEAL_AREA_BYTES))
    return outcome(INVALID_ADDRESS);
  clearStealArea(memory, gpa);
  hart.state.stealArea = gpa;
  return outcome(SUCCESS);
}

/** Chapter 5: the calls of version 0.1, which return one value. */
function legacy(platform: SbiPlatform, hart: RiscvHart, extension: number): number {
  switch (extension) {
    case Extension.setTimer:
      setTimer(hart);
      return 0;
    case Extension.putchar:
      platform.console.write(Uint8Array.of(hart.readXLow(A0) & 0xff));
      return 0;
    case Extension.getchar:
      return platform.console.read(1)[0] ?? -1;
    case Extension.clearIpi:
      hart.state.software &= ~(1 << RiscvInterrupt.supervisorSoftware);
      return 0;
    case Extension.sendIpi:
      platform.harts().forEach(raiseSoftware);
      return 0;
    case Extension.remoteFenceI:
      platform.harts().forEach(fenceInstructions);
      return 0;
    case Extension.remoteSfence:
    case Extension.remoteSfenceAsid:
      for (const target of platform.harts()) target.options.tlb.flush();
      return 0;
    default:
      platform.onPower({ kind: "off", status: 0 });
      hart.requestExit(Exit.stop);
      return 0;
  }
}
