/**
 * Unmodified Debian with a network card on a switch with a gateway: Linux's own driver, its IP and neighbour discovery,
 * busybox's DHCP client, resolver and nc. Left out where Debian's files were never fetched (`npm start` does).
 */
import { createSocket } from "node:dgram";
import { policyOf, Switch, UserNetwork } from "@hyperfile/devices/net";
import { nodeOutside } from "@hyperfile/devices/node";
import { virtioNet } from "@hyperfile/devices/virtio";
import { expect, it, onTestFinished } from "vitest";
import { riscvVirt } from "../src/index.js";
import { DEBIAN_PROMPT, debianImages } from "./debian.js";
import { Session, Terminal } from "./session.js";

const images = debianImages();
/** What `udhcpc` calls with what it got. */
const LEASE_SCRIPT = [
  "#!/bin/sh",
  "[ $1 = bound ] || exit 0",
  "ip addr add $ip/$mask dev $interface",
  "ip route add default via $router",
  "echo nameserver $dns > /etc/resolv.conf",
  "echo got $ip/$mask $router $dns $domain $mtu $lease",
].join("\\n");

it.skipIf(images === undefined)(
  "Debian gets an address, finds its gateway by IPv4 and IPv6, resolves names and speaks to the host",
  async () => {
    // A server of TFTP (RFC 1350) for files of one block: an acknowledgement is not answered.
    const server = createSocket("udp4");
    server.on("message", (data, from) => {
      const name = data.toString("latin1", 2).split("\0")[0];
      if (data[1] === 1) server.send(`\0\x03\0\x01this is ${name}\n`, from.port, from.address);
    });
    await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
    const { port } = server.address();
    const lan = new Switch();
    const outside = nodeOutside();
    const policy = policyOf([{ allow: true, range: "127.0.0.1", ports: [port, port] }], outside.hostRanges);
    const gateway = new UserNetwork({ network: lan, outside, policy });
    gateway.setName("db", ["10.0.2.77"]);
    const card = virtioNet({ network: lan, mac: "52:54:00:12:34:56" });
    const terminal = new Terminal();
    const machine = riscvVirt({
      ramBytes: 256 << 20,
      boot: images!,
      console: terminal,
      devices: ["console", "entropy", "balloon", () => card.device],
    });
    onTestFinished(() => {
      machine.free();
      gateway.close();
      server.close();
    });
    const session = new Session(machine, terminal);
    await session.until(DEBIAN_PROMPT);
    const eth0 = "/sys/class/net/eth0";
    expect(
      await session.command(`echo $(ip link set eth0 up; cat ${eth0}/address ${eth0}/mtu ${eth0}/carrier)`),
    ).toMatch(/^52:54:00:12:34:56 1500 1$/m);
    expect(
      await session.command(
        `printf '${LEASE_SCRIPT}\\n' > /tmp/got; chmod +x /tmp/got; udhcpc -n -q -i eth0 -s /tmp/got`,
      ),
    ).toMatch(/^got 10\.0\.2\.15\/24 10\.0\.2\.2 10\.0\.2\.3 internal 1500 86400$/m);
    expect(gateway.leases).toMatchObject([{ ip: "10.0.2.15", mac: 0x525400123456 }]);
    expect(await session.command("ping -c 2 -i 0.2 10.0.2.2; ping -c 1 -s 4000 10.0.2.2")).toMatch(
      /2 packets received.*4008 bytes from 10\.0\.2\.2.*1 packets received/s,
    );
    expect(await session.command("nslookup db.internal 10.0.2.3")).toMatch(/^Address.*10\.0\.2\.77$/m);
    // The same by TCP: the answer ends with the address.
    const query = "\\0\\035\\0\\007\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\2db\\010internal\\0\\0\\1\\0\\1";
    expect(await session.command(`printf '${query}' | nc -w 5 10.0.2.3 53 | od -An -v -tu1`)).toMatch(
      /10 +0 +2 +77$/m,
    );
    // The address of IPv6 is its own work, from the router's prefix.
    expect(await session.command("sleep 2; ip -6 addr show dev eth0 | cat")).toMatch(
      /inet6 fd00::5054:ff:fe12:3456\/64/,
    );
    expect(await session.command("ping -c 1 fd00::2; ping -c 1 -s 4000 fd00::2")).toMatch(
      /1 packets received.*4008 bytes from fd00::2.*1 packets received/s,
    );
    expect(await session.command(`tftp -g -r note -l /tmp/note 10.0.2.2 ${port}; cat /tmp/note`)).toMatch(
      /^this is note$/m,
    );
    expect(await session.command("ping -c 1 -W 2 169.254.169.254")).toMatch(/0 packets received/);
    card.setLink(false);
    expect(await session.command(`sleep 1; cat ${eth0}/carrier`)).toMatch(/^0$/m);
    card.setLink(true);
    expect(await session.command("sleep 1; ping -c 1 10.0.2.2")).toMatch(/1 packets received/);
    await session.stop();
    expect(card.device.counters).toMatchObject({ refused: 0 });
    expect(gateway.statistics).toMatchObject({ malformed: 0, foreign: 0, udpMappings: 1 });
  },
  900_000,
);
