/** Numbers of the CSRs that a hart has, by name. */
import { hartExtensions } from "../src/arch/riscv/extensions.js";

export const Csr: Readonly<Record<string, number>> = Object.fromEntries(
  hartExtensions.flatMap(({ csrs = [] }) => csrs.map(({ name, number }) => [name, number])),
);
