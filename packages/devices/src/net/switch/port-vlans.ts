/**
 * Which virtual networks (IEEE 802.1Q) a port is a member of. An access port has one, and its end never sees a tag. A trunk
 * has several, told apart by tags; frames without one belong to its native network, if it has one.
 *
 * Network 0 is that of ports which say nothing: a switch without VLANs is one network, in which tags of guests' own
 * pass as payload.
 */

import { NetworkError } from "../errors.js";
import type { Frame } from "../frame.js";
import { type EthernetHeader, tagged, untagged } from "../frames/ethernet.js";

/** The networks of a port, by numbers from 1 to 4094. */
export type PortVlans =
  | { readonly access: number }
  | { readonly trunk: readonly number[]; readonly native?: number };

/** Membership of one port. */
export interface Membership {
  /** The network of a frame that came from the port, and the frame without its tag; undefined for one that may not pass. */
  enter(frame: Frame, header: EthernetHeader): { vlan: number; frame: Frame } | undefined;
  /** Whether frames of a network leave by the port. */
  has(vlan: number): boolean;
  /** A frame of a network as the port's end sees it. */
  leave(frame: Frame, vlan: number): Frame;
}

const plain: Membership = {
  enter: (frame) => ({ vlan: 0, frame }),
  has: (vlan) => vlan === 0,
  leave: (frame) => frame,
};

/** @throws NetworkError (`E_NETWORK_OPTION`) for numbers that no network has */
export function membership(vlans: PortVlans | undefined): Membership {
  if (vlans === undefined) return plain;
  if ("access" in vlans) {
    const own = checked(vlans.access);
    return {
      // A tag is not the end's to choose; one without a number is only a priority (section 6.9).
      enter: (frame, { vlan }) => {
        if (vlan === undefined) return { vlan: own, frame };
        return vlan === 0 ? { vlan: own, frame: withoutTag(frame) } : undefined;
      },
      has: (vlan) => vlan === own,
      leave: (frame) => frame,
    };
  }
  const members = new Set(vlans.trunk.map(checked));
  const native = vlans.native === undefined ? undefined : checked(vlans.native);
  if (native !== undefined) members.add(native);
  return {
    enter: (frame, { vlan }) => {
      const network = vlan === undefined || vlan === 0 ? native : vlan;
      if (network === undefined || !members.has(network)) return undefined;
      return { vlan: network, frame: vlan === undefined ? frame : withoutTag(frame) };
    },
    has: (vlan) => members.has(vlan),
    leave: (frame, vlan) => (vlan === native ? frame : withTag(frame, vlan)),
  };
}

function checked(vlan: number): number {
  if (!Number.isInteger(vlan) || vlan < 1 || vlan > 4094)
    throw new NetworkError("E_NETWORK_OPTION", `${vlan} is no VLAN: use a number from 1 to 4094`);
  return vlan;
}

const moved = (frame: Frame, bytes: Uint8Array): Frame => ({
  ...frame,
  bytes,
  ...(frame.checksum === undefined
    ? {}
    : {
        checksum: {
          start: frame.checksum.start + bytes.length - frame.bytes.length,
          offset: frame.checksum.offset,
        },
      }),
});
const withTag = (frame: Frame, vlan: number): Frame => moved(frame, tagged(frame.bytes, vlan));
const withoutTag = (frame: Frame): Frame => moved(frame, untagged(frame.bytes));
