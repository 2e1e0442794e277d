/** A guest with TCP ends by hand behind a gateway, and an outside that the test plays. */
import { finishedFrames } from "../src/net/frame.js";
import type { IpPacket } from "../src/net/frames/ip.js";
import { parseTcp, type Segment, tcpFrame } from "../src/net/frames/tcp.js";
import { UserNetwork, type UserNetworkOptions } from "../src/net/nat/user-network.js";
import { finishFrame } from "../src/net/offload.js";
import { Switch } from "../src/net/switch/switch.js";
import type { Timers } from "../src/net/timers.js";
import { FakeOutside } from "./fake-outside.js";
import { NetGuest } from "./net-guest.js";
import { SimpleTcp } from "./simple-tcp.js";
import { VirtualTimers } from "./virtual-timers.js";

/** A TCP end of a guest's towards an address; what comes for the guest is given to `take`. */
export function tcpEnd(guest: NetGuest, timers: Timers, address: string, port: number, own: number) {
  const segments: Segment[] = [];
  const tcp: SimpleTcp = new SimpleTcp(
    timers,
    (segment) => {
      const whole = { ...segment, sourcePort: own, destinationPort: port, data: [segment.data] };
      for (const { bytes } of finishFrame(tcpFrame(guest.to(address), whole, 1460), finishedFrames))
        guest.send(bytes);
    },
    1000,
    { sack: true, shift: 2 },
  );
  const receive = (segment: Segment): void => {
    segments.push(segment);
    tcp.receive(segment);
  };
  const take = (packet: IpPacket): void => {
    const segment = packet.protocol === 6 ? parseTcp(packet, false) : undefined;
    if (segment?.destinationPort !== own) return;
    const kept = { ...segment, data: segment.data.slice() };
    timers.after(1, () => receive(kept));
  };
  return { tcp, segments, receive, take };
}

/** A gateway in virtual time with a guest whose connections the test has in hand. */
export function startedTcp(options: Partial<UserNetworkOptions> = {}) {
  const timers = new VirtualTimers();
  const lan = new Switch({ timers });
  const outside = new FakeOutside();
  const net = new UserNetwork({ network: lan, outside, timers, ...options });
  const guest = new NetGuest(lan, 0x525400000015);
  /** A connection of the guest's. */
  const open = (address: string, port: number, own = 4000) => {
    const { tcp, segments, receive } = tcpEnd(guest, timers, address, port, own);
    handlers.set(own, receive);
    return { tcp, segments };
  };
  /** A port of the guest's at which it listens. */
  const serve = (own: number) => {
    let port = 0;
    const tcp = new SimpleTcp(
      timers,
      (segment) => {
        const whole = { ...segment, sourcePort: own, destinationPort: port, data: [segment.data] };
        for (const { bytes } of finishFrame(tcpFrame(guest.to("10.0.2.2"), whole, 1460), finishedFrames))
          guest.send(bytes);
      },
      2000,
      { sack: true, shift: 2 },
    );
    tcp.isListening = true;
    handlers.set(own, (segment) => {
      port = segment.sourcePort;
      tcp.receive(segment);
    });
    return tcp;
  };
  const handlers = new Map<number, (segment: Segment) => void>();
  guest.end.onFrame = () => {
    for (const { packet } of guest.take()) {
      const segment = packet.protocol === 6 ? parseTcp(packet, false) : undefined;
      if (segment !== undefined) timers.after(1, () => handlers.get(segment.destinationPort)?.(segment));
      else complaints.push(packet.payload[1]!);
    }
  };
  const complaints: number[] = [];
  return { timers, net, outside, guest, open, serve, complaints };
}
