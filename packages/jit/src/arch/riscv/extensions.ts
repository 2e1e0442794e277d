/**
 * Extensions as a hart has them: the decoder's descriptions with what their CSRs do and what their helpers do. One
 * description is all there is of an extension; front end, hart, debugger, saved states, ISA string and device tree are
 * made from the set of them.
 */
import {
  checkFrontEnd,
  ExtensionError,
  type FrontEnd,
  isBuiltIn,
  type RiscvExtension,
  RiscvIsa,
  riscvFrontEnd,
  type StandardExtension,
  standardExtensions,
} from "@hyperfile/decoder";
import { eventCounters, machineCounters, supervisorCounters, userCounters } from "./csrs/counters.js";
import type { CsrRow } from "./csrs/csr-file.js";
import { CsrTable } from "./csrs/csr-table.js";
import { machineEnvironment, supervisorEnvironment, supervisorTimer } from "./csrs/environment.js";
import { floatCsrs } from "./csrs/float.js";
import { identityCsrs, triggerCsrs } from "./csrs/identity.js";
import { protectionCsrs } from "./csrs/protection.js";
import { machineStatus, supervisorStatus } from "./csrs/status.js";
import { machineTraps, supervisorTraps } from "./csrs/traps.js";
import type { RiscvHart } from "./hart.js";
import { type HartHelpers, systemHelpers } from "./system-instructions.js";

/** An extension with all that a hart has to know of it. */
export interface HartExtension extends RiscvExtension {
  /** CSRs that it brings. */
  readonly csrs?: readonly CsrRow[];
  /** What the helpers do that its instructions call. A 64-bit parameter arrives as two words, low half first. */
  readonly helpers?: (hart: RiscvHart) => HartHelpers;
  /** Properties of a hart's node in the device tree that say more than the name: block sizes, for instance. */
  readonly treeProperties?: Readonly<Record<string, number | string>>;
}

/** Extensions that a hart has together. */
export type HartIsa = RiscvIsa<HartExtension>;

/** CSRs of the decoder's extensions, by the extension that brings them. */
const csrsOf: { readonly [Name in StandardExtension]?: readonly CsrRow[] } = {
  f: floatCsrs,
  zicntr: userCounters,
  sm: [
    ...identityCsrs,
    ...machineStatus,
    ...machineTraps,
    ...machineEnvironment,
    ...machineCounters,
    ...eventCounters,
    ...protectionCsrs,
    ...triggerCsrs,
  ],
  ss: [...supervisorStatus, ...supervisorTraps, ...supervisorEnvironment, ...supervisorCounters],
  sstc: supervisorTimer,
};

/** The extensions that every hart has: the decoder's, with their CSRs and helpers. */
export const hartExtensions: readonly HartExtension[] = standardExtensions.map((extension) => {
  const { name } = extension;
  const csrs = csrsOf[name];
  return {
    ...extension,
    ...(csrs === undefined ? {} : { csrs }),
    helpers: (hart: RiscvHart) => systemHelpers(hart)[name] ?? {},
  };
});

/**
 * The instruction set of a hart that has more than the standard extensions.
 * @throws ExtensionError naming the extension that does not fit, and why
 */
export function hartIsa(...added: readonly HartExtension[]): HartIsa {
  return new RiscvIsa<HartExtension>([...hartExtensions, ...added]);
}

/** The instruction set of a hart without added extensions. */
export const standardHartIsa: HartIsa = hartIsa();

/** Letters of `misa` for modes; those of extensions are their names. */
const MODE_LETTERS = "su";

const tables = new WeakMap<HartIsa, Map<number, CsrTable>>();

/** The CSRs of harts whose registers have `xlen` bits; one table for all of an ISA. */
export function csrTable(isa: HartIsa, xlen: 32 | 64): CsrTable {
  return once(tables, isa, xlen, () => {
    const names = isa.extensions.map(({ name }) => name).filter(({ length }) => length === 1);
    const misa = [...names, ...MODE_LETTERS].reduce(
      (bits, letter) => bits | (1 << (letter.charCodeAt(0) - 97)),
      0,
    );
    return new CsrTable(
      isa.extensions.flatMap(({ csrs = [] }) => csrs),
      xlen,
      misa,
    );
  });
}

const frontEnds = new WeakMap<HartIsa, Map<number, FrontEnd>>();

/**
 * The front end of harts whose registers have `xlen` bits; one for all of an ISA.
 * @throws FrontEndError naming what is wrong with an added instruction, ExtensionError if one of those is missing whose
 *   state every hart has
 */
export function hartFrontEnd(isa: HartIsa, xlen: 32 | 64): FrontEnd {
  return once(frontEnds, isa, xlen, () => {
    const missing = ["i", "f"].find((name) => !isa.has(name));
    if (missing !== undefined)
      throw new ExtensionError(
        `a hart needs the extension ${missing}: make its instruction set with hartIsa`,
      );
    const frontEnd = riscvFrontEnd(xlen, isa);
    if (!isBuiltIn(frontEnd)) checkFrontEnd(frontEnd);
    return frontEnd;
  });
}

/** The functions that translated code calls for a hart: its extensions'. */
export function hartHelpers(hart: RiscvHart, isa: HartIsa): HartHelpers {
  return Object.assign({}, ...isa.extensions.map(({ helpers }) => helpers?.(hart)));
}

function once<T>(made: WeakMap<HartIsa, Map<number, T>>, isa: HartIsa, xlen: number, make: () => T): T {
  let known = made.get(isa);
  if (known === undefined) {
    known = new Map();
    made.set(isa, known);
  }
  let value = known.get(xlen);
  if (value === undefined) {
    value = make();
    known.set(xlen, value);
  }
  return value;
}
