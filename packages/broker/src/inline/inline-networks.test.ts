/** Networks of a fleet of one thread, with cards that only count: who has which address, and what limits hold. */
import { describe, expect, it } from "vitest";
import type { NetworkSpec } from "../hyperfile/types.js";
import type { NetDirection } from "../net/allotment.js";
import type { InlineCable, InlineCard, InlineCardRequest, InlineGate } from "./inline-lan.js";
import { InlineNetworks, type InlineNic } from "./inline-networks.js";

const FRAME = 1000;

/** A card that has so many bytes to go. */
class Card implements InlineCard {
  readonly left = { send: 0, receive: 0 };
  readonly gone = { send: 0, receive: 0 };
  isUp = true;
  isOut = false;

  constructor(
    readonly request: InlineCardRequest,
    readonly gate: InlineGate,
  ) {}

  /** Frames come. */
  add(direction: NetDirection, frames: number): void {
    for (let at = 0; at < frames; at++)
      if (this.left[direction] === 0 && this.gate.isFree(direction)) this.gone[direction] += FRAME;
      else {
        this.left[direction] += FRAME;
        this.gate.wait(direction, this.left[direction]);
      }
  }

  waiting(direction: NetDirection): number {
    return this.left[direction];
  }

  let(direction: NetDirection, bytes: number): number {
    let went = 0;
    for (; went < bytes && this.left[direction] > 0; went += FRAME) this.left[direction] -= FRAME;
    this.gone[direction] += went;
    return went;
  }

  look(): void {
    for (const direction of ["send", "receive"] as const)
      if (this.gate.isFree(direction)) this.let(direction, Infinity);
  }

  setUp(isUp: boolean): void {
    this.isUp = isUp;
  }

  figures() {
    return { "bytes.sent": this.gone.send };
  }

  disconnect(): void {
    this.isOut = true;
  }
}

class World {
  readonly specs: NetworkSpec[] = [];
  readonly cards: Card[] = [];
  closed = 0;
  refuses = "";
  readonly networks = new InlineNetworks((spec) => {
    this.specs.push(spec);
    return {
      plug: (request, gate) => {
        if (request.vm === this.refuses) throw new Error("it refuses");
        const card = new Card(request, gate);
        this.cards.push(card);
        return card;
      },
      close: () => {
        this.closed++;
      },
    };
  });

  /** A VM that is on. */
  start(vm: string, nics: readonly InlineNic[], net = {}, pool = "root"): Card {
    this.networks.enlist(vm, nics);
    const cables = this.networks.connect(vm, pool, net) as readonly InlineCable[];
    return cables[0]!.cable as Card;
  }
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe("addresses", () => {
  it("are made of names, so that they are the same whoever came before, and nobody's twice", () => {
    const addresses = (...vms: string[]) => {
      const { networks, specs } = new World();
      networks.add("lan");
      for (const vm of vms) networks.enlist(vm, [{ network: "lan" }, {}]);
      return { figures: vms.map((vm) => networks.figures(vm)[0]!), subnet: specs[0]!.subnet };
    };
    const one = addresses("a", "b", "c");
    const other = addresses("c", "a", "b");
    expect(one.subnet).toBe("10.0.2.0/24");
    expect(other.figures).toEqual([one.figures[2], one.figures[0], one.figures[1]]);
    for (const { address, mac, isPlugged } of one.figures)
      expect([/^10\.0\.2\.\d+$/.test(address!), /^52:54:/.test(mac), isPlugged]).toEqual([true, true, true]);
    const many = addresses(...Array.from({ length: 200 }, (_, at) => `vm-${at}`)).figures;
    expect(new Set(many.map(({ address }) => address)).size).toBe(200);
    expect(new Set(many.map(({ mac }) => mac)).size).toBe(200);
  });

  it("can be given, and are refused in a line where they can't be had", () => {
    const { networks } = new World();
    networks.add("lan", { subnet: "10.1.0.0/28" });
    networks.enlist("a", [
      { network: "lan", mac: "52:54:00:00:00:01", address: "10.1.0.7", hostName: "alpha" },
    ]);
    expect(networks.figures("a")).toMatchObject([{ hostName: "alpha", address: "10.1.0.7", counters: {} }]);
    const refused: readonly (readonly [InlineNic, string])[] = [
      [{ network: "wan" }, "there is no network wan: there are lan"],
      [
        { network: "lan", address: "10.1.0.7" },
        "VM b: another card has the address 10.1.0.7: give each its own",
      ],
      [{ network: "lan", address: "10.1.0.16" }, "VM b: 10.1.0.16 is no address of network lan, 10.1.0.0/28"],
      [
        { network: "lan", address: "10.1.0.3" },
        "VM b: 10.1.0.3 is the gateway's or the name server's in network lan",
      ],
      [{ network: "lan", address: "here" }, "VM b: here is no address of network lan, 10.1.0.0/28"],
      [
        { mac: "52:54:00:00:00:01" },
        "VM b: another card has the address 52:54:00:00:00:01: give each its own",
      ],
      [
        { mac: "01:00:00:00:00:01" },
        "VM b: 01:00:00:00:00:01 is no address of a card: use one like 52:54:00:12:34:56",
      ],
    ];
    for (const [nic, message] of refused) {
      expect(() => networks.enlist("b", [nic])).toThrow(message);
      expect(() => networks.figures("b")).toThrow();
    }
    // Ten places, of which one is given.
    for (let at = 0; at < 10; at++) networks.enlist(`vm-${at}`, [{ network: "lan" }]);
    expect(() => networks.enlist("last", [{ network: "lan" }])).toThrow(
      "network lan has no address left: give it a larger subnet",
    );
    expect(networks.addressFor("lan", "last", () => false)).toBeUndefined();
  });

  it("of a clone are its own, in the same networks, as far as they are not given", () => {
    const { networks } = new World();
    networks.add("lan");
    networks.enlist("a", [{ network: "lan", hostName: "alpha" }, {}]);
    networks.plug("a", 0, false);
    networks.enlistClone("b", "a");
    const [[a], [b, cut]] = [networks.figures("a"), networks.figures("b")];
    expect(b).toMatchObject({ network: "lan", hostName: "b", isPlugged: false });
    expect(cut).toMatchObject({ network: undefined, isPlugged: false, address: undefined });
    expect(b!.mac).not.toBe(a!.mac);
    expect(b!.address).not.toBe(a!.address);
  });
});

describe("networks", () => {
  it("have ranges of their own, and end when no VM has a card in them", () => {
    const world = new World();
    const { networks } = world;
    networks.add("one");
    networks.add("two", { kind: "isolated", dhcp: false });
    expect(world.specs.map(({ subnet, kind, dhcp }) => [subnet, kind, dhcp])).toEqual([
      ["10.0.2.0/24", "nat", true],
      ["10.0.3.0/24", "isolated", false],
    ]);
    expect(() => networks.add("one")).toThrow("there is a network one already");
    expect(() => networks.add("three", { subnet: "10.0.3.128/25" })).toThrow("is of another network already");
    expect(() => networks.add("three", { subnet: "all" })).toThrow("network three: all is no range");
    networks.enlist("a", [{ network: "two" }]);
    expect(networks.figures("a")[0]!.address).toBeUndefined();
    expect(() => networks.remove("two")).toThrow("network two still has a card of VM a: remove that first");
    networks.forget("a");
    networks.remove("two");
    expect([world.closed, networks.list().map(({ name }) => name)]).toEqual([1, ["one"]]);
    expect(() => networks.remove("two")).toThrow("there is no network two: there are one");
    expect(() => new InlineNetworks(undefined).add("one")).toThrow("give the fleet openNetwork");
  });

  it("connect all cards of a VM or none", () => {
    const world = new World();
    const { networks } = world;
    networks.add("one");
    networks.add("two");
    networks.enlist("a", [{ network: "one" }, { network: "two", hostName: "bad" }]);
    world.refuses = "bad";
    expect(() => networks.connect("a", "root", {})).toThrow("it refuses");
    expect(world.cards.map(({ isOut }) => isOut)).toEqual([true]);
    world.refuses = "";
    expect(networks.connect("a", "root", {})).toHaveLength(2);
    networks.disconnect("a");
    expect(world.cards.every(({ isOut }) => isOut)).toBe(true);
    expect(networks.figures("a").map(({ counters }) => counters)).toEqual([{}, {}]);
  });

  it("remember whose cable is out while a VM is off", () => {
    const world = new World();
    world.networks.add("lan");
    const card = world.start("a", [{ network: "lan" }, {}]);
    world.networks.plug("a", 0, false);
    expect([card.isUp, world.networks.figures("a")[0]!.isPlugged]).toEqual([false, false]);
    world.networks.disconnect("a");
    world.networks.connect("a", "root", {});
    expect(world.cards.at(-1)!.isUp).toBe(false);
    expect(() => world.networks.plug("a", 1, true)).toThrow("VM a has no card 1 in a network");
    expect(() => world.networks.plug("b", 0, true)).toThrow("VM b has no card 0 in a network");
  });
});

describe("limits", () => {
  it("hold a VM to so many bytes in each direction, whoever has none goes at once; without one, so does what waited", async () => {
    const world = new World();
    world.networks.add("lan");
    const limited = world.start("a", [{ network: "lan" }], { send: { limit: 100_000 } });
    const free = world.start("b", [{ network: "lan" }]);
    const began = performance.now();
    for (const card of [limited, free]) for (const each of ["send", "receive"] as const) card.add(each, 2000);
    expect([free.gone, limited.gone.receive]).toEqual([{ send: 2e6, receive: 2e6 }, 2e6]);
    await pause(1000);
    const most = ((performance.now() - began) / 1000) * 100_000 + 20_000;
    expect(limited.gone.send).toBeLessThanOrEqual(most);
    expect(limited.gone.send).toBeGreaterThan(20_000);
    world.networks.configure("a", { send: { limit: Infinity } });
    expect(limited.gone.send).toBe(2e6);
  });

  it("of a pool hold all that is in it together, by shares", async () => {
    const world = new World();
    world.networks.add("lan");
    world.networks.addPool("p", "root");
    world.networks.configurePool("p", { send: { limit: 200_000 } });
    const one = world.start("a", [{ network: "lan" }], { shares: 1000 }, "p");
    const three = world.start("b", [{ network: "lan" }], { shares: 3000 }, "p");
    for (const card of [one, three]) card.add("send", 5000);
    await pause(2000);
    const all = one.gone.send + three.gone.send;
    expect(all).toBeGreaterThan(50_000);
    expect(three.gone.send / all).toBeGreaterThan(0.7);
    expect(three.gone.send / all).toBeLessThan(0.8);
    expect(world.networks.poolAllotment("p")!.send.limit).toBe(200_000);
  });

  it("that can't be promised are refused before a VM is connected", () => {
    const world = new World();
    world.networks.add("lan");
    world.networks.addPool("p", "root");
    world.networks.configurePool("p", { send: { reservation: 1000, limit: 1000 } });
    world.networks.enlist("a", [{ network: "lan" }]);
    expect(() => world.networks.connect("a", "p", { send: { reservation: 2000 } })).toThrow(
      "a reservation of 2K a second to send is needed",
    );
    expect(world.cards).toEqual([]);
    world.networks.connect("a", "p", { send: { reservation: 500 } });
    expect(() => world.networks.configure("a", { send: { reservation: 2000 } })).toThrow(
      /2K a second to send/,
    );
  });
});
