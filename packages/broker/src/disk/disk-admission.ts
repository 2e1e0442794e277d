/** Reservations of disk operations and bytes a second. */
import { formatSize } from "../hyperfile/units.js";
import { changeDisk, DEFAULT_DISK, DEFAULT_DISK_POOL, type diskQuantities } from "./allotment.js";
import { RateAdmission, type Rates } from "./rate-admission.js";

type Quantity = (typeof diskQuantities)[number];

const rates: Rates<Quantity> = {
  units: {
    iops: (amount) => `${amount} disk operations a second`,
    bandwidth: (amount) => `${formatSize(amount)} a second of disk bandwidth`,
  },
  usual: DEFAULT_DISK,
  usualPool: DEFAULT_DISK_POOL,
  change: changeDisk,
};

/** Who may have what of the store. */
export class DiskAdmission extends RateAdmission<Quantity> {
  /** @param rootName name of the pool that holds everything */
  constructor(rootName?: string) {
    super(rates, rootName);
  }
}
