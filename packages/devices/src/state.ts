/** Reading device state back: checks the shape of what `save` once returned. */
import type { DeviceState, DeviceValue } from "./ports.js";

/** A saved state that does not fit the device. */
export class DeviceStateError extends Error {
  override readonly name = "DeviceStateError";
  readonly code = "E_DEVICE_STATE";
}

/** Reads the fields of a saved state by name and type; every mismatch names the device and the field. */
export class StateReader {
  constructor(
    private readonly device: string,
    private readonly state: DeviceState,
  ) {}

  /** A number. */
  number(field: string): number {
    const value = this.state[field];
    if (typeof value !== "number") throw this.mismatch(field, "a number");
    return value;
  }

  /** An integer from 0 to `maximum`: what a register of that width can hold. */
  integer(field: string, maximum: number): number {
    const value = this.state[field];
    if (!isRegister(value, maximum)) throw this.mismatch(field, `an integer from 0 to ${maximum}`);
    return value;
  }

  /** A big integer from `minimum` to before `end`, kept as decimal digits. */
  bigint(field: string, minimum: bigint, end: bigint): bigint {
    const value = this.state[field];
    const found = typeof value === "string" && /^-?\d{1,40}$/.test(value) ? BigInt(value) : undefined;
    if (found === undefined || found < minimum || found >= end)
      throw this.mismatch(field, `a decimal integer from ${minimum} to before ${end}`);
    return found;
  }

  /** A boolean. */
  boolean(field: string): boolean {
    const value = this.state[field];
    if (typeof value !== "boolean") throw this.mismatch(field, "true or false");
    return value;
  }

  /** Bytes: `minimum` to `maximum` of them. */
  bytes(field: string, maximum: number, minimum = 0): Uint8Array {
    const value = this.state[field];
    if (!(value instanceof Uint8Array)) throw this.mismatch(field, "bytes");
    if (value.length > maximum || value.length < minimum)
      throw this.mismatch(field, `${minimum === maximum ? "" : "at most "}${maximum} bytes`);
    return value;
  }

  /** The state of a part. */
  record(field: string): DeviceState {
    const value = this.state[field];
    const fits =
      typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
    if (!fits) throw this.mismatch(field, "a state");
    return value as DeviceState;
  }

  /** An array of `length` numbers. */
  numbers(field: string, length: number): readonly number[] {
    const value: DeviceValue | undefined = this.state[field];
    const fits =
      Array.isArray(value) && value.length === length && value.every((item) => typeof item === "number");
    if (!fits) throw this.mismatch(field, `${length} numbers`);
    return value as readonly number[];
  }

  /** An array of `length` integers from 0 to `maximum`. */
  integers(field: string, length: number, maximum: number): readonly number[] {
    const value: DeviceValue | undefined = this.state[field];
    const fits =
      Array.isArray(value) && value.length === length && value.every((item) => isRegister(item, maximum));
    if (!fits) throw this.mismatch(field, `${length} integers from 0 to ${maximum}`);
    return value as readonly number[];
  }

  /** An array of at most `maximum` strings. */
  strings(field: string, maximum: number): readonly string[] {
    const value: DeviceValue | undefined = this.state[field];
    const fits =
      Array.isArray(value) && value.length <= maximum && value.every((item) => typeof item === "string");
    if (!fits) throw this.mismatch(field, `at most ${maximum} names`);
    return value as readonly string[];
  }

  /** An array of at most `maximum` integers from 0 to `largest`. */
  list(field: string, maximum: number, largest: number): readonly number[] {
    const value: DeviceValue | undefined = this.state[field];
    const fits =
      Array.isArray(value) && value.length <= maximum && value.every((item) => isRegister(item, largest));
    if (!fits) throw this.mismatch(field, `at most ${maximum} integers from 0 to ${largest}`);
    return value as readonly number[];
  }

  /** The error for a field that does not hold what is expected of it. */
  mismatch(field: string, expected: string): DeviceStateError {
    return new DeviceStateError(`saved state of ${this.device}: ${field} must be ${expected}`);
  }
}

function isRegister(value: unknown, maximum: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= maximum;
}
