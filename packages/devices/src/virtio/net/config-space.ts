/** Features and configuration of a network device (virtio 1.2, sections 5.1.3 and 5.1.4). */
import { writeMac } from "../../net/addresses.js";

/** Feature bits. */
export const netFeatures = {
  checksum: 0,
  guestChecksum: 1,
  mtu: 3,
  mac: 5,
  guestTso4: 7,
  guestTso6: 8,
  hostTso4: 11,
  hostTso6: 12,
  mergeBuffers: 15,
  status: 16,
  control: 17,
  announce: 21,
  multiQueue: 22,
} as const;

/** Bits of the status. */
export const netStatus = { linkUp: 1, announce: 2 } as const;

/** Where the status is. */
export const STATUS_AT = 6;
/** mac: 6, status: 2, max_virtqueue_pairs: 2, mtu: 2. */
const CONFIG_BYTES = 12;

/** What a driver can read. */
export interface NetConfig {
  readonly mac: number;
  readonly status: number;
  /** Pairs of queues that there are. */
  readonly pairs: number;
  readonly mtu: number;
}

/** The bytes of the configuration space. */
export function netConfig({ mac, status, pairs, mtu }: NetConfig): Uint8Array {
  const bytes = new Uint8Array(CONFIG_BYTES);
  const view = new DataView(bytes.buffer);
  writeMac(bytes, 0, mac);
  view.setUint16(STATUS_AT, status, true);
  view.setUint16(8, pairs, true);
  view.setUint16(10, mtu, true);
  return bytes;
}
