/** What the hart is (privileged manual, 3.1.1 to 3.1.5), and its debug triggers, of which there are none. */
import type { CsrRow } from "./csr-file.js";
import { csr, zero } from "./row.js";

/** `misa.MXL` on RV32, and in the high word on RV64. */
const [MXL_32, MXL_64] = [0x40000000, -0x80000000];

export const identityCsrs: readonly CsrRow[] = [
  csr("misa", {
    read: (file) => (file.rv64 ? file.give(file.table.misa, MXL_64) : file.give(file.table.misa | MXL_32, 0)),
  }),
  csr("mhartid", { read: (file) => file.give(file.hart.options.hartId, 0) }),
  ...["mvendorid", "marchid", "mimpid", "mconfigptr"].map((name) => zero(name)),
];

export const triggerCsrs: readonly CsrRow[] = ["tselect", "tdata1", "tdata2", "tdata3"].map((name) =>
  zero(name),
);
