/** Guests that claim addresses of others, on a network that gives addresses and on one that does not. */
import { describe, expect, it } from "vitest";
import { GATEWAY_MAC, NetGuest } from "../../../test/net-guest.js";
import { VirtualTimers } from "../../../test/virtual-timers.js";
import { BROADCAST_MAC, formatIp, ipBytes, parseMac } from "../addresses.js";
import { arpFrame, parseArp } from "../frames/arp.js";
import { parseEthernet } from "../frames/ethernet.js";
import { type IcmpMessage, icmpFrame, neighbourTypes } from "../frames/icmp.js";
import { udpFrame } from "../frames/udp.js";
import { Lan } from "../lan/lan.js";
import { usualPolicy } from "../lan/place-policy.js";
import { linkLocalOf } from "../nat/router.js";

const hello = new TextEncoder().encode("hello");
const GATEWAY6 = "fd00::2";

function world(dhcp = true) {
  const timers = new VirtualTimers();
  const lan = new Lan(
    {
      ...{ name: "lan", kind: "isolated", subnet: "10.0.2.0/24", subnet6: "fd00::/64", dhcp },
      policy: usualPolicy,
    },
    { timers },
  );
  const free = { isFree: () => true, wait: () => expect.unreachable() };
  const guest = (vm: string, place: number) => {
    const mac = `52:54:00:00:00:${place}`;
    const address = `10.0.2.${place}`;
    const card = lan.plug({ vm, mac, address, policy: usualPolicy }, free);
    return { card, by: new NetGuest(card, parseMac(mac)!, address, formatIp(linkLocalOf(parseMac(mac)!))) };
  };
  const [one, other] = [guest("one", 20), guest("other", 30)];
  /** Whether a frame of the first guest comes to the second. */
  const passes = (frame: Uint8Array): boolean => {
    other.by.end.got.splice(0);
    one.by.send(frame);
    return other.by.end.got.length === 1;
  };
  return { lan, guest, one, other, passes };
}
type World = ReturnType<typeof world>;

const arp = ({ one, passes }: World, senderIp: string, senderMac = one.by.mac): boolean =>
  passes(
    withSource(
      arpFrame(BROADCAST_MAC, {
        ...{ operation: 2, senderMac, senderIp, targetMac: BROADCAST_MAC, targetIp: "10.0.2.30" },
      }),
      one.by.mac,
    ),
  );
function withSource(frame: Uint8Array, mac: number): Uint8Array {
  const own = arpFrame(0, {
    operation: 1,
    senderMac: mac,
    senderIp: "0.0.0.0",
    targetMac: 0,
    targetIp: "0.0.0.0",
  });
  frame.set(own.subarray(6, 12), 6);
  return frame;
}
const udp = ({ one, other, passes }: World, source: string, sourcePort = 5000): boolean =>
  passes(
    udpFrame(
      {
        ...{ sourceMac: one.by.mac, destinationMac: other.by.mac, hops: 64 },
        ...{ source: ipBytes(source), destination: ipBytes(source.includes(":") ? "ff02::1" : "10.0.2.30") },
      },
      { sourcePort, destinationPort: 68, data: hello },
    ),
  );
const icmp6 = ({ one, other }: World, source: string, message: IcmpMessage): Uint8Array =>
  icmpFrame(
    {
      ...{ sourceMac: one.by.mac, destinationMac: other.by.mac, hops: 255 },
      ...{ source: ipBytes(source), destination: ipBytes("ff02::1") },
    },
    message,
  );
/** A message about an address, as neighbours send it. */
const about = (type: number, target: string): IcmpMessage => {
  const body = new Uint8Array(20);
  body.set(ipBytes(target), 4);
  return { type, code: 0, body };
};

describe("on a network that gives addresses a guest", () => {
  it("says by ARP that it has its own address, or none, and no other", () => {
    const net = world();
    expect(arp(net, "10.0.2.20")).toBe(true);
    expect(arp(net, "0.0.0.0")).toBe(true);
    for (const address of ["10.0.2.2", "10.0.2.3", "10.0.2.30", "10.0.2.77", "192.168.1.1"])
      expect(arp(net, address), address).toBe(false);
    expect(arp(net, "10.0.2.20", GATEWAY_MAC)).toBe(false);
    expect(net.one.card.figures()["frames.dropped"]).toBe(6);
  });

  it("sends from its own address, and gives none", () => {
    const net = world();
    expect(udp(net, "10.0.2.20")).toBe(true);
    expect(udp(net, "10.0.2.30")).toBe(false);
    expect(udp(net, "8.8.8.8")).toBe(false);
    expect(udp(net, "10.0.2.20", 67)).toBe(false);
    // Who has no address yet asks for one.
    expect(udp(net, "0.0.0.0", 68)).toBe(true);
  });

  it("has the IPv6 addresses of its MAC address, and none that are made of another's", () => {
    const net = world();
    const own = net.one.by.six;
    expect(udp(net, own)).toBe(true);
    expect(udp(net, own.replace("fe80::", "fd00::"))).toBe(true);
    expect(udp(net, net.other.by.six)).toBe(false);
    expect(udp(net, formatIp(linkLocalOf(GATEWAY_MAC)))).toBe(false);
    expect(udp(net, GATEWAY6)).toBe(false);
    expect(udp(net, "ff02::1")).toBe(false);
    expect(net.passes(icmp6(net, own, about(neighbourTypes.neighbourAdvertisement, GATEWAY6)))).toBe(false);
    expect(net.passes(icmp6(net, own, about(neighbourTypes.neighbourAdvertisement, own)))).toBe(true);
  });

  it("has other IPv6 addresses if it was the first to say so, or to ask for them, until it is gone", () => {
    const net = world();
    const [mine, yours] = ["fd00::abcd", "fd00::1234"];
    expect(udp(net, mine)).toBe(true);
    const ask = about(neighbourTypes.neighbourSolicitation, yours);
    net.other.by.send(
      icmpFrame(
        {
          ...{ sourceMac: net.other.by.mac, destinationMac: BROADCAST_MAC, hops: 255 },
          ...{ source: new Uint8Array(16), destination: ipBytes("ff02::1") },
        },
        ask,
      ),
    );
    const own = net.one.by.six;
    expect(udp(net, yours)).toBe(false);
    expect(net.passes(icmp6(net, own, about(neighbourTypes.neighbourAdvertisement, yours)))).toBe(false);
    expect(udp(net, mine)).toBe(true);
    net.other.card.disconnect();
    const third = net.guest("third", 40);
    const frame = icmp6(net, yours, about(neighbourTypes.neighbourAdvertisement, yours));
    frame.set([255, 255, 255, 255, 255, 255]);
    net.one.by.send(frame);
    expect(third.by.end.got).toHaveLength(1);
  });

  it("gives up the address that it has had longest for one more than it may have", () => {
    const net = world();
    for (let each = 1; each <= 33; each++) expect(udp(net, `fd00::a:${each.toString(16)}`)).toBe(true);
    const taken = (address: string): boolean => {
      net.one.by.end.got.splice(0);
      net.other.by.send(
        udpFrame(
          {
            ...{ sourceMac: net.other.by.mac, destinationMac: net.one.by.mac, hops: 64 },
            ...{ source: ipBytes(address), destination: ipBytes("ff02::1") },
          },
          { sourcePort: 1, destinationPort: 2, data: hello },
        ),
      );
      return net.one.by.end.got.length === 1;
    };
    expect(taken("fd00::a:2")).toBe(false);
    expect(taken("fd00::a:1")).toBe(true);
  });

  it("leads nowhere: no router's messages, behind whatever headers", () => {
    const net = world();
    const own = net.one.by.six;
    for (const type of [neighbourTypes.routerAdvertisement, neighbourTypes.redirect]) {
      const plain = icmp6(net, own, about(type, own));
      expect(net.passes(plain)).toBe(false);
      // Behind options for each hop, and the first part of a fragmented packet.
      for (const header of [0, 43, 44, 60]) {
        const behind = new Uint8Array(plain.length + 8);
        behind.set(plain.subarray(0, 54));
        behind[20] = header;
        behind[54] = 58;
        behind.set(plain.subarray(54), 62);
        expect(net.passes(behind), `header ${header}`).toBe(false);
      }
    }
    const echo = icmp6(net, own, { type: 128, code: 0, body: new Uint8Array(8) });
    expect(net.passes(echo)).toBe(true);
    const endless = new Uint8Array(200);
    endless.set(echo.subarray(0, 54));
    endless[20] = 0;
    expect(net.passes(endless)).toBe(false);
  });

  it("gets nothing through that is cut off, and any bytes harm nobody", () => {
    const net = world();
    let seed = 1;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) | 0;
      return ((seed >>> 8) & 0xffff) % below;
    };
    const whole = [
      arpFrame(BROADCAST_MAC, {
        ...{
          operation: 1,
          senderMac: net.one.by.mac,
          senderIp: "10.0.2.20",
          targetMac: 0,
          targetIp: "10.0.2.30",
        },
      }),
      icmp6(net, net.one.by.six, about(neighbourTypes.neighbourAdvertisement, net.one.by.six)),
    ];
    let passed = 0;
    for (let count = 0; count < 5000; count++) {
      const frame = whole[count % 2]!.slice(0, count % 3 === 0 ? random(90) : undefined);
      for (let changes = random(4); changes > 0; changes--) frame[14 + random(80)] = random(256);
      if (!net.passes(frame)) continue;
      passed++;
      const { type, payload } = parseEthernet(frame)!;
      if (type === 0x0806) expect(["10.0.2.20", "0.0.0.0"]).toContain(parseArp(frame, payload)?.senderIp);
    }
    expect(passed).toBeGreaterThan(500);
    expect(passed).toBeLessThan(4500);
  });
});

it("on a network whose guests see to their addresses themselves they may have any, and give them", () => {
  const net = world(false);
  expect(arp(net, "10.0.2.77")).toBe(true);
  expect(udp(net, "192.168.1.1", 67)).toBe(true);
  const own = net.one.by.six;
  expect(net.passes(icmp6(net, own, about(neighbourTypes.routerAdvertisement, own)))).toBe(true);
});
