/** What the API shows of VMs: plain data with seconds and bytes, without infinities, which JSON lacks. */
import type { AccountsView, AllotmentView, VmSample, VmView } from "../api/types.js";
import { type CpuAccounts, stealOf } from "../cpu/accounts.js";
import type { Allotment } from "../cpu/resource-tree.js";

const SECOND = 1e9;

/** An allotment for JSON. */
export const allotmentView = ({ shares, reservation, limit }: Allotment): AllotmentView => ({
  shares,
  reservation,
  limit: limit === Infinity ? null : limit,
});

/** Accounts of nanoseconds in seconds, with their steal. */
export function accountsView(accounts: CpuAccounts): AccountsView {
  const seconds = Object.fromEntries(
    Object.entries(accounts).map(([name, value]) => [name, value / SECOND]),
  ) as unknown as CpuAccounts;
  return { ...seconds, steal: stealOf(accounts) / SECOND };
}

/** Counters of devices that count bytes. */
const BYTES = /\.(sent|received|bytes)$/;

/** A running VM's sample; undefined for one that is off. */
export function sampleOf({
  accounts,
  memory,
  counters = {},
  instructions = 0,
}: Pick<VmView, "accounts" | "memory" | "counters" | "instructions">): VmSample | undefined {
  if (accounts === undefined || memory === undefined) return undefined;
  const { used, ready, waiting, idle, steal } = accounts;
  let io = 0;
  for (const [name, value] of Object.entries(counters)) if (BYTES.test(name)) io += value;
  return { used, ready, waiting, idle, steal, instructions, io, ...memory };
}
