/**
 * Networks: frames and the cable between two ends, a switch, and captures. Frames can be taken apart and put together
 * for ends of one's own.
 */
export {
  BROADCAST_MAC,
  canonicalIp,
  formatIp,
  formatMac,
  type IpFamily,
  parseIp,
  parseMac,
} from "./addresses.js";
export { SlotBell } from "./cable/bell.js";
export { CableMemory, CableToCard, CableToSwitch } from "./cable/cable.js";
export { NetworkError, type NetworkErrorCode } from "./errors.js";
export {
  allFrames,
  type Frame,
  type FrameSupport,
  finishedFrames,
  type Link,
  type LinkEnd,
  type Network,
  noNetwork,
} from "./frame.js";
export { type ArpMessage, arpFrame, arpOperations, parseArp } from "./frames/arp.js";
export { type EthernetHeader, etherTypes, parseEthernet, writeEthernet } from "./frames/ethernet.js";
export { type IcmpMessage, icmpFrame, icmpTypes, parseIcmp } from "./frames/icmp.js";
export { type IpPacket, type IpTo, ipFrame, ipProtocols, parseIp4Or6 } from "./frames/ip.js";
export {
  type OutgoingSegment,
  parseTcp,
  type SackBlock,
  type Segment,
  type TcpOptions,
  tcpFlags,
  tcpFrame,
} from "./frames/tcp.js";
export { type Datagram, parseUdp, udpFrame } from "./frames/udp.js";
export { HeldNetwork } from "./held-network.js";
export {
  Lan,
  type LanForward,
  type LanNeighbour,
  type LanOptions,
  type LanSpec,
} from "./lan/lan.js";
export { LanCard, type LanCardOptions, type LanFigure } from "./lan/lan-card.js";
export { type PlacePolicy, type PlaceRule, rulesOf, usualPolicy } from "./lan/place-policy.js";
export { type LanDirection, type LanGate, type LanPlace, PluggedCard } from "./lan/plugged-card.js";
export { ReceiveCredit, type ReceiveGate } from "./lan/receive-credit.js";
export type { DhcpLease, DhcpOptions } from "./nat/dhcp/server.js";
export {
  noOutside,
  type Outside,
  type OutsideCaller,
  type OutsideFailure,
  type OutsideListener,
  type OutsideTcp,
  type OutsideTcpEvents,
  type OutsideUdp,
  type OutsideUdpEvents,
} from "./nat/outside.js";
export { isPublic, type Policy, type PolicyQuestion, type PolicyRule, policyOf } from "./nat/policy.js";
export {
  type Forward,
  type ForwardOptions,
  UserNetwork,
  type UserNetworkOptions,
} from "./nat/user-network.js";
export { finishFrame } from "./offload.js";
export { AddressClaims, AddressGuard } from "./switch/address-guard.js";
export {
  Capture,
  type CaptureCounts,
  type CaptureEnd,
  type CaptureOptions,
  type CaptureSink,
} from "./switch/capture.js";
export {
  type CapturedInterface,
  type CapturedPacket,
  DEFAULT_SNAP_LENGTH,
  enhancedPacket,
  interfaceDescription,
  interfaceStatistics,
  sectionHeader,
} from "./switch/pcapng.js";
export type { QueueBounds } from "./switch/port-queue.js";
export type { PortVlans } from "./switch/port-vlans.js";
export {
  type DropReason,
  type MirroredFrame,
  type PortCounters,
  type PortOptions,
  Switch,
  type SwitchOptions,
  type SwitchPort,
} from "./switch/switch.js";
export { hostTimers, type Timer, type Timers } from "./timers.js";
export { WispOutside, type WispOutsideOptions } from "./wisp/outside.js";
export type { WispPort, WispPortEvents } from "./wisp/port.js";
export { WispRelay, type WispRelayOptions } from "./wisp/relay.js";
