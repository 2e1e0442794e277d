/** What the API shows of VMs: plain data with seconds and bytes, without infinities, which JSON lacks. */
import type {
  AccountsView,
  AllotmentView,
  DiskAllotmentView,
  NetAllotmentView,
  NicView,
  RateView,
  VmSample,
  VmView,
} from "../api/types.js";
import { type CpuAccounts, stealOf } from "../cpu/accounts.js";
import type { Allotment } from "../cpu/resource-tree.js";
import type { DiskAllotment, RateBounds } from "../disk/allotment.js";
import { formatForward } from "../hyperfile/net-text.js";
import type { NicReport } from "../lifecycle/host-claim.js";
import type { NetAllotment } from "../net/allotment.js";
import { diskLatencies, diskSums, latenciesSince, latencyWithin } from "./disk-figures.js";
import { netSums } from "./net-figures.js";

const SECOND = 1e9;

/** An allotment for JSON. */
export const allotmentView = ({ shares, reservation, limit }: Allotment): AllotmentView => ({
  shares,
  reservation,
  limit: limit === Infinity ? null : limit,
});

/** The same of disks. */
export const diskView = ({ shares, iops, bandwidth }: DiskAllotment): DiskAllotmentView => ({
  shares,
  iops: rateView(iops),
  bandwidth: rateView(bandwidth),
});

/** The same of networks. */
export const netView = ({ shares, send, receive }: NetAllotment): NetAllotmentView => ({
  shares,
  send: rateView(send),
  receive: rateView(receive),
});

const rateView = ({ reservation, limit }: RateBounds): RateView => ({
  reservation,
  limit: limit === Infinity ? null : limit,
});

/** A network card. */
export const nicView = ({ network, mac, address, forwards, counters }: NicReport): NicView => ({
  ...(network === undefined ? {} : { network }),
  mac,
  ...(address === undefined ? {} : { address }),
  forwards: forwards.map(formatForward),
  counters,
});

/** Accounts of nanoseconds in seconds, with their steal. */
export function accountsView(accounts: CpuAccounts): AccountsView {
  const seconds = Object.fromEntries(
    Object.entries(accounts).map(([name, value]) => [name, value / SECOND]),
  ) as unknown as CpuAccounts;
  return { ...seconds, steal: stealOf(accounts) / SECOND };
}

/** Counters of devices that count bytes; those of network cards count frames. */
const BYTES = /^(?!net\d*\.).*\.(sent|received|bytes)$/;

/**
 * A running VM's sample; undefined for one that is off.
 * @param before counters of the sample before, if there was one
 * @param nics its network cards
 */
export function sampleOf(
  {
    accounts,
    memory,
    counters = {},
    instructions = 0,
  }: Pick<VmView, "accounts" | "memory" | "counters" | "instructions">,
  before: Readonly<Record<string, number>> = {},
  nics: readonly NicReport[] = [],
): VmSample | undefined {
  if (accounts === undefined || memory === undefined) return undefined;
  const { used, ready, waiting, idle, steal } = accounts;
  const net = netSums(nics);
  let io = net.netSent + net.netReceived;
  for (const [name, value] of Object.entries(counters)) if (BYTES.test(name)) io += value;
  const { operations: diskOperations, bytes: diskBytes, throttled } = diskSums(counters);
  const latencies = diskLatencies(counters);
  const recent = latencies === undefined ? undefined : latenciesSince(diskLatencies(before), latencies);
  const within = (part: number): number => (recent === undefined ? 0 : latencyWithin(recent, part));
  const disks = { diskOperations, diskBytes, throttled, diskP50: within(0.5), diskP99: within(0.99) };
  return { used, ready, waiting, idle, steal, instructions, io, ...disks, ...net, ...memory };
}
