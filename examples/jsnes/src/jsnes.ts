/**
 * What this example uses of jsnes that the package does not declare: its CPU, and what that is connected with. The
 * class of the CPU is not exported either; an emulator has an instance.
 */
import { NES, type NESOptions } from "jsnes";

/** The picture unit, as its CPU sees it. */
export interface Ppu {
  /** Dots that the CPU has asked for, and those that were run. */
  dotTarget: number;
  dotsRun: number;
  nextEventDot: number;
  nmiOutput: boolean;
  renderingOn: boolean;
  frameEnded: boolean;
  catchUp(): void;
  _dotsUntil(line: number, dot: number): number;
  _scheduleNextEvent(): void;
}

/** The sound unit. */
export interface Papu {
  lastCycle: number;
  countSequence: number;
  frameIrqEnabled: boolean;
  frameCycleCounter: number;
  readonly dmc: {
    readonly bytesRemaining: number;
    readonly bitsRemaining: number;
    readonly timer: number;
    readonly period: number;
    readonly startDelay: number;
    readonly disableDelay: number;
    readonly lastFetchCycle: number;
  };
  catchUp(cycle: number): void;
}

/** A cartridge's circuits. */
export interface Mapper {
  load(address: number): number;
  write(address: number, value: number): void;
  clockIrqCounter(): void;
}

/** The console. */
export interface Console {
  cpu: JsnesCpu;
  ppu: Ppu;
  papu: Papu;
  mmap: Mapper | null;
  reset(): void;
  frame(): void;
  loadROM(data: Uint8Array | string): void;
  toJSON(): unknown;
  fromJSON(state: unknown): void;
  buttonDown(controller: number, button: number): void;
  buttonUp(controller: number, button: number): void;
}

/** jsnes's own CPU: the 6502's registers, the bus, DMA and the interrupt inputs. */
export interface JsnesCpu {
  mem: Uint8Array;
  nes: Console;
  ppu: Ppu;
  papu: Papu;
  REG_ACC: number;
  REG_X: number;
  REG_Y: number;
  REG_SP: number;
  REG_PC: number;
  F_CARRY: number;
  F_ZERO: number;
  F_INTERRUPT: number;
  F_DECIMAL: number;
  F_OVERFLOW: number;
  F_SIGN: number;
  cycles: number;
  dataBus: number;
  irqFlags: number;
  resetPending: boolean;
  nmiLine: boolean;
  needNmi: boolean;
  prevNeedNmi: boolean;
  forcedNmi: boolean;
  runIrq: boolean;
  prevRunIrq: boolean;
  dmaNeedHalt: boolean;
  dmcDmaRunning: boolean;
  /** False while something stands between the CPU and the cartridge's memory. */
  directPrgReads: boolean;
  /** One bus cycle each. */
  read(address: number): number;
  write(address: number, value: number): void;
  /** Runs one instruction, with what interrupts it; gives its cycles. */
  emulate(): number;
  toJSON(): { mem: number[] };
  fromJSON(state: unknown): void;
  _runDma(address: number): void;
  _interruptSequence(vector: number, isBreak: boolean): void;
  _updatePrgReadPath(): void;
}

/** jsnes, with what it does not declare. */
export const JsnesConsole = NES as unknown as new (options: NESOptions) => Console;

/** The class of jsnes's CPU. */
export const JsnesCpuClass = new JsnesConsole({}).cpu.constructor as new (nes: Console) => JsnesCpu;
