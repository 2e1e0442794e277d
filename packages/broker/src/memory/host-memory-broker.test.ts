import { describe, expect, it } from "vitest";
import type { MemoryTarget } from "./division.js";
import { HostMemoryBroker } from "./host-memory-broker.js";
import { type HostFrames, PAGE_SIZE } from "./ports.js";

const bytes = (pages: number) => pages * PAGE_SIZE;

/** A host of so many pages in nodes of at most 1000, whose threads are numbered. */
function host(pages: number, places = 4) {
  const nodes: (HostFrames & { free: number; left: unknown[] })[] = [];
  const broker = new HostMemoryBroker({
    memoryBytes: bytes(pages),
    mostNodeBytes: bytes(1000),
    makeNode: (frameBytes) => {
      let next = 0;
      const left: unknown[] = [];
      const node = {
        frames: frameBytes / PAGE_SIZE,
        free: frameBytes / PAGE_SIZE,
        left,
        enter: () => (next < places ? next++ : undefined),
        leave: (place: unknown) => void left.push(place),
      };
      nodes.push(node);
      return node;
    },
  });
  const targets = new Map<string, MemoryTarget>();
  const balance = () => broker.balance((name, target) => void targets.set(name, target));
  const hear = (name: string, granted: number, active = granted) =>
    broker.hear(name, { granted, ballooned: 0, swapped: 0, active, balloonStuck: false });
  return { broker, nodes, targets, balance, hear };
}

describe("a host's memory", () => {
  it("is touched no more than is needed at once: a VM goes where others are, as long as all can have all of theirs", () => {
    const { broker, nodes } = host(4000, 20);
    const placed: number[] = [];
    // Each takes what it has, so that by what is left the nodes would be taken in turn.
    for (let vm = 0; vm < 20; vm++) {
      const { node } = broker.admit(`vm${vm}`, "root", {}, bytes(190));
      nodes[node]!.free -= 190;
      placed.push(node);
    }
    expect(placed).toEqual(Array.from({ length: 20 }, (_, vm) => Math.floor(vm / 5)));
    // Now there is no node where all can have all: the one with most left is taken.
    nodes[2]!.free = 60;
    expect(broker.admit("more", "root", {}, bytes(190)).node).toBe(2);
    // Who is gone has left room where the others are.
    broker.retire("vm5");
    broker.leave({ node: 1, place: 0 });
    expect(broker.admit("another", "root", {}, bytes(190)).node).toBe(1);
  });

  it("is admitted against, place by place", () => {
    const { broker, nodes } = host(2000, 2);
    expect(broker.admit("a", "root", { reservation: bytes(800) }, bytes(800))).toEqual({ node: 0, place: 0 });
    nodes[0]!.free = 200;
    // The other node has more that nobody has.
    expect(broker.admit("b", "root", { reservation: bytes(500) }, bytes(1000))).toEqual({
      node: 1,
      place: 0,
    });
    expect(() => broker.admit("c", "root", { reservation: bytes(700) }, bytes(700))).toThrow(
      /VM c can't be admitted/,
    );
    // Both nodes together have room for 600, but neither alone.
    expect(() => broker.admit("c", "root", { reservation: bytes(500) }, bytes(500))).toThrow(
      /no part of the machine memory has its reservation/,
    );
    broker.admit("d", "root", {}, bytes(100));
    broker.admit("e", "root", {}, bytes(100));
    expect(() => broker.admit("f", "root", {}, bytes(100))).toThrow(/no room for another thread/);
    broker.retire("a");
    broker.leave({ node: 0, place: 0 });
    expect(nodes[0]!.left).toEqual([0]);
    expect(broker.report("a")).toBeUndefined();
    expect(() => broker.configure("b", { reservation: bytes(990) }, "client")).toThrow(/where its memory is/);
    broker.configure("b", { reservation: bytes(900) }, "client");
  });

  it("gives the busy one what the idle one does not use, once it is short", () => {
    const { broker, nodes, targets, balance, hear } = host(1000);
    for (const name of ["idle", "busy"]) broker.admit(name, "root", {}, bytes(800));
    hear("idle", 400, 20);
    hear("busy", 400);
    nodes[0]!.free = 200;
    balance();
    expect(targets.get("busy")).toEqual({ target: 800, limit: 800, reservation: 0 });
    hear("busy", 600);
    nodes[0]!.free = 0;
    balance();
    expect(broker.view().state).toBe("low");
    const [idle, busy] = [targets.get("idle")!.target, targets.get("busy")!.target];
    expect(idle + busy).toBe(940);
    expect(busy / idle).toBeGreaterThan(1.5);
    targets.clear();
    balance();
    expect(targets.size).toBe(0);
  });

  it("counts what was taken from a VM as wanted", () => {
    const { broker, nodes, targets, balance } = host(1000);
    for (const name of ["a", "b"]) broker.admit(name, "root", {}, bytes(900));
    const figures = { granted: 300, ballooned: 200, swapped: 300, active: 300, balloonStuck: false };
    for (const name of ["a", "b"]) broker.hear(name, figures);
    nodes[0]!.free = 400;
    balance();
    expect(Math.abs(targets.get("a")!.target - 470)).toBeLessThan(3);
    expect(targets.get("a")!.target + targets.get("b")!.target).toBe(940);
  });
});
