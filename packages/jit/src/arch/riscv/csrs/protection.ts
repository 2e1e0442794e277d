/** Physical memory protection (privileged manual, 3.7.1): 16 entries, four configuration bytes a word. */
import { legalConfig, PMP_ADDRESS_HIGH, PMP_ENTRIES, type Pmp } from "../pmp.js";
import { type CsrFile, CsrOutcome, type CsrPair, type CsrRow } from "./csr-file.js";
import { csr, numbered, within } from "./row.js";

const BYTES = 4;

export const protectionCsrs: readonly CsrRow[] = [
  ...numbered("pmpcfg", "", 0, PMP_ENTRIES / BYTES - 1, (name, index) => configuration(name, index)),
  ...numbered("pmpaddr", "", 0, PMP_ENTRIES - 1, (name, entry) => addressOf(name, entry)),
];

/** RV64 has those of even numbers, of 8 bytes each. */
function configuration(name: string, index: number): CsrRow {
  const first = index * BYTES;
  const load = ({ config }: Pmp, rv64: boolean): CsrPair => [
    word(config, first),
    rv64 ? word(config, first + BYTES) : 0,
  ];
  return csr(name, {
    ...(index % 2 === 0 ? {} : { width: 32 as const }),
    read: (file) => file.give(...load(file.hart.pmp, file.rv64)),
    write: (file, lo, hi) => {
      const { pmp } = file.hart;
      for (let at = 0; at < BYTES; at++) pmp.writeConfig(first + at, (lo >>> (8 * at)) & 0xff);
      if (file.rv64)
        for (let at = 0; at < BYTES; at++) pmp.writeConfig(first + BYTES + at, (hi >>> (8 * at)) & 0xff);
      return changed(file);
    },
    saved: {
      at: {
        load: ({ pmp, options }) => load(pmp, options.xlen === 64),
        store: ({ pmp, options }, lo, hi) => {
          setWord(pmp.config, first, lo);
          if (options.xlen === 64) setWord(pmp.config, first + BYTES, hi);
        },
      },
      legal: [(lo, hi) => isLegal(lo) && isLegal(hi), "legal bytes of pmpcfg"],
    },
  });
}

function addressOf(name: string, entry: number): CsrRow {
  return csr(name, {
    read: (file) =>
      file.give(file.hart.pmp.addressLow[entry]!, file.rv64 ? file.hart.pmp.addressHigh[entry]! : 0),
    write: (file, lo, hi) => {
      file.hart.pmp.writeAddress(entry, lo, file.rv64 ? hi : 0);
      return changed(file);
    },
    saved: {
      at: {
        load: ({ pmp }) => [pmp.addressLow[entry]!, pmp.addressHigh[entry]!],
        store: ({ pmp }, lo, hi) => {
          pmp.addressLow[entry] = lo;
          pmp.addressHigh[entry] = hi;
        },
      },
      legal: [
        (_lo, hi, { options }) => within(hi, options.xlen === 64 ? PMP_ADDRESS_HIGH : 0),
        "bits that addresses have",
      ],
    },
  });
}

const word = (config: Uint8Array, at: number): number =>
  config[at]! | (config[at + 1]! << 8) | (config[at + 2]! << 16) | (config[at + 3]! << 24);

function setWord(config: Uint8Array, first: number, value: number): void {
  for (let at = 0; at < BYTES; at++) config[first + at] = value >>> (8 * at);
}

function isLegal(value: number): boolean {
  return [0, 8, 16, 24].every((shift) => {
    const byte = (value >>> shift) & 0xff;
    return byte === legalConfig(byte);
  });
}

function changed({ hart }: CsrFile): CsrOutcome {
  hart.options.tlb.flush();
  return CsrOutcome.leave;
}
