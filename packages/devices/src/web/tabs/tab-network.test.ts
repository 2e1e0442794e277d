/** Tabs of one network, without a browser: who is here, who leads, and frames between them. */
import { describe, expect, it } from "vitest";
import { FakeBrowser, type FakeTab } from "../../../test/fake-tabs.js";
import { plainFrame, RecordingEnd } from "../../../test/net-ends.js";
import { BROADCAST_MAC } from "../../net/addresses.js";
import { allFrames, type Link } from "../../net/frame.js";
import { Switch } from "../../net/switch/switch.js";
import { TABS_VERSION, type TabCard } from "./messages.js";
import { TabNetwork } from "./tab-network.js";

const card = (place: number): TabCard => ({
  ...{ vm: `vm-${place}`, mac: `52:54:00:00:00:0${place}`, address: `10.0.2.${place}` },
});

/** A tab with a switch and one end on it. */
class Member {
  readonly lan = new Switch();
  readonly end = new RecordingEnd(allFrames);
  readonly link: Link = this.lan.connect(this.end);
  readonly neighbours = new Map<string, readonly TabCard[]>();
  leads = 0;
  changes = 0;
  network!: TabNetwork;

  private constructor(
    readonly tab: FakeTab,
    readonly mac: number,
  ) {}

  static async join(browser: FakeBrowser, mac: number, name = "net"): Promise<Member> {
    const member = new Member(browser.tab(), mac);
    member.network = await TabNetwork.join({
      name,
      locks: member.tab.locks,
      openChannel: member.tab.openChannel,
      connect: (end, port) => member.lan.connect(end, { name: port, isIsolated: true }),
      neighbours: (tab, cards) => {
        if (cards.length === 0) member.neighbours.delete(tab);
        else member.neighbours.set(tab, cards);
      },
      lead: () => member.leads++,
      changed: () => member.changes++,
    });
    return member;
  }

  send(to: number, payload?: Uint8Array): void {
    this.link.send(plainFrame(to, this.mac, payload));
  }

  got(): number {
    return this.end.take().length;
  }
}

async function members(count: number, browser = new FakeBrowser()) {
  const all: Member[] = [];
  for (let at = 0; at < count; at++) all.push(await Member.join(browser, 2 * (at + 1)));
  await browser.settle();
  return { browser, all, others: () => all.map(({ network }) => network.others) };
}

it("frames go to the tab that they are for, once, and to all where that is not known; none comes back", async () => {
  const { browser, all } = await members(3);
  const [one, two, three] = all as [Member, Member, Member];
  one.send(BROADCAST_MAC);
  await browser.settle();
  expect(all.map((each) => each.got())).toEqual([0, 1, 1]);
  two.send(one.mac);
  await browser.settle();
  expect(all.map((each) => each.got())).toEqual([1, 0, 0]);
  const before = three.network.counters;
  for (let count = 0; count < 50; count++) one.send(two.mac, new Uint8Array(1000 + count));
  await browser.settle();
  expect(two.end.got.map(({ bytes }) => bytes.length)).toEqual(
    Array.from({ length: 50 }, (_, at) => 1014 + at),
  );
  expect([one.got(), three.got(), three.network.counters]).toEqual([0, 0, before]);
});

it("a view of much more is sent without the rest, and what is left undone in a frame is told", async () => {
  const { browser, all } = await members(2);
  const whole = new Uint8Array(1 << 20);
  whole.set(plainFrame(BROADCAST_MAC, 2).bytes, 100);
  all[0]!.link.send({ bytes: whole.subarray(100, 160), checksum: { start: 20, offset: 4 } });
  await browser.settle();
  const [frame] = all[1]!.end.got;
  expect([frame!.bytes.length, frame!.bytes.buffer.byteLength, frame!.checksum]).toEqual([
    60,
    60,
    { start: 20, offset: 4 },
  ]);
});

describe("who is here", () => {
  it("is known to all, with cards, whoever came first", async () => {
    const { browser, all, others } = await members(2);
    all[0]!.network.setCards([card(1)]);
    all[1]!.network.setCards([card(2), card(3)]);
    const late = await Member.join(browser, 20);
    await browser.settle();
    expect([...others(), late.network.others]).toEqual([2, 2, 2]);
    expect(late.neighbours).toEqual(
      new Map([
        [all[0]!.network.tab, [card(1)]],
        [all[1]!.network.tab, [card(2), card(3)]],
      ]),
    );
    all[1]!.network.setCards([]);
    await browser.settle();
    expect([...late.neighbours.keys()]).toEqual([all[0]!.network.tab]);
  });

  it("is forgotten when it leaves, and when it is gone without a word", async () => {
    const { browser, all, others } = await members(3);
    all[2]!.network.setCards([card(3)]);
    await browser.settle();
    all[1]!.network.leave();
    await browser.settle();
    expect(others()).toEqual([1, 0, 1]);
    all[2]!.tab.crash();
    await browser.settle();
    expect([all[0]!.network.others, all[0]!.neighbours.size]).toEqual([0, 0]);
    all[0]!.send(BROADCAST_MAC);
    await browser.settle();
    expect(all.map((each) => each.got())).toEqual([0, 0, 0]);
  });

  it("is no tab of another network", async () => {
    const { browser, others } = await members(2);
    const other = await Member.join(browser, 20, "other");
    await browser.settle();
    expect([...others(), other.network.others]).toEqual([1, 1, 0]);
  });
});

describe("who leads", () => {
  it("is exactly one tab, and another one when that is gone, however", async () => {
    const { browser, all } = await members(4);
    const leading = () => all.map(({ network }, at) => (network.isLeading ? at : -1)).filter((at) => at >= 0);
    all[0]!.network.setText("leads nowhere");
    await browser.settle();
    expect([leading(), all.map(({ leads }) => leads)]).toEqual([[0], [1, 0, 0, 0]]);
    expect(all.map(({ network }) => network.leaderText)).toEqual(Array(4).fill("leads nowhere"));
    all[0]!.tab.crash();
    await browser.settle();
    expect(all.map(({ leads }) => leads)).toEqual([1, 1, 0, 0]);
    expect(all[3]!.network.leaderText).toBe("");
    all[1]!.network.leave();
    await browser.settle();
    expect(all.map(({ leads }) => leads)).toEqual([1, 1, 1, 0]);
    // One that waits may be gone before its turn.
    all[3]!.tab.crash();
    all[2]!.tab.crash();
    const last = await Member.join(browser, 20);
    await browser.settle();
    expect([last.leads, last.network.isLeading]).toEqual([1, true]);
  });

  it("does not lead when it was told to leave before", async () => {
    const { browser, all } = await members(2);
    all[1]!.network.leave();
    all[0]!.network.leave();
    await browser.settle();
    expect(all.map(({ leads }) => leads)).toEqual([1, 0]);
  });
});

it("what one tab has claimed no other can have, until it gives it back or is gone", async () => {
  const { browser, all } = await members(2);
  const [one, two] = all as [Member, Member];
  const giveBack = await one.network.claim("name a");
  expect(giveBack).toBeTypeOf("function");
  expect([await two.network.claim("name a"), await one.network.claim("name a")]).toEqual([
    undefined,
    undefined,
  ]);
  expect(await two.network.claim("name b")).toBeTypeOf("function");
  giveBack!();
  await browser.settle();
  expect(await one.network.claim("name a")).toBeTypeOf("function");
  two.tab.crash();
  await browser.settle();
  expect(await one.network.claim("name b")).toBeTypeOf("function");
});

describe("a tab that does not look", () => {
  it("has a bounded number of bytes under way to it; others go on, and so does it when it looks again", async () => {
    const { browser, all } = await members(3);
    const [one, two, three] = all as [Member, Member, Member];
    browser.frozen.add(two.tab);
    for (let count = 0; count < 3000; count++) {
      one.send(BROADCAST_MAC, new Uint8Array(1400));
      if (count % 100 === 99) await browser.settle();
    }
    expect(three.got()).toBe(3000);
    // A mebibyte is under way, a thousand frames wait at the port, and the rest was dropped.
    const parcels = two.tab.inbox.length;
    two.tab.thaw();
    await browser.settle();
    const got = two.got();
    expect(parcels).toBeLessThan(300);
    expect(got).toBeGreaterThan(1024);
    expect(got).toBeLessThan(2000);
    one.send(BROADCAST_MAC);
    await browser.settle();
    expect(two.got()).toBe(1);
  });
});

describe("what can't be used", () => {
  it.each<[what: string, message: unknown]>([
    ["no object", 7],
    ["nothing", null],
    ["another version", { version: TABS_VERSION + 1, kind: "who", from: "00112233" }],
    ["nobody's", { version: TABS_VERSION, kind: "who" }],
    ["a name that is none", { version: TABS_VERSION, kind: "who", from: "<script>" }],
    ["another kind", { version: TABS_VERSION, kind: "what", from: "00112233" }],
    ["no cards", { version: TABS_VERSION, kind: "here", from: "00112233", isLeading: true, text: "" }],
    [
      "too many cards",
      {
        ...{ version: TABS_VERSION, kind: "here", from: "00112233", isLeading: true, text: "" },
        cards: Array(1025).fill(card(1)),
      },
    ],
    [
      "a card without an address that can be",
      {
        ...{ version: TABS_VERSION, kind: "here", from: "00112233", isLeading: true, text: "" },
        cards: [{ ...card(1), address: 7 }],
      },
    ],
    [
      "a long text",
      {
        ...{ version: TABS_VERSION, kind: "here", from: "00112233", isLeading: true, cards: [] },
        text: "x".repeat(301),
      },
    ],
  ])("on the channel of all, %s, is counted, and changes nothing", async (_, message) => {
    const { browser, all, others } = await members(2);
    const stranger = browser.tab().openChannel("hyperfile network net");
    const before = all[0]!.network.counters.malformed;
    stranger.postMessage(message);
    await browser.settle();
    expect([all[0]!.network.counters.malformed - before, others()]).toEqual([1, [1, 1]]);
  });

  it("on a tab's own channel is counted: frames of strangers, of a wrong form, and such as their header does not fit", async () => {
    const { browser, all } = await members(2);
    const [one, two] = all as [Member, Member];
    const channel = browser.tab().openChannel(`hyperfile network net ${one.network.tab}`);
    const frames = (from: string, ...list: unknown[]) =>
      channel.postMessage({ version: TABS_VERSION, kind: "frames", from, frames: list });
    const { bytes } = plainFrame(BROADCAST_MAC, 4);
    const header = new Uint8Array(12);
    frames("0011223344556677", { header, bytes });
    await browser.settle();
    expect(one.network.counters).toMatchObject({ malformed: 0, strangers: 1 });
    const from = two.network.tab;
    frames(from, { header, bytes: "none" });
    frames(from, ...Array(513).fill({ header, bytes }));
    channel.postMessage({ version: TABS_VERSION, kind: "took", from, bytes: -1 });
    channel.postMessage({ version: TABS_VERSION, kind: "took", from, bytes: Number.NaN });
    await browser.settle();
    expect(one.network.counters.malformed).toBe(4);
    frames(
      from,
      { header: header.subarray(1), bytes },
      { header, bytes: bytes.subarray(0, 13) },
      { header, bytes: new Uint8Array(70_000) },
      // A checksum outside of the frame.
      { header: Uint8Array.of(1, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0), bytes },
    );
    await browser.settle();
    expect([one.network.counters.malformed, one.got()]).toEqual([8, 0]);
    // More was taken than was ever sent: a tab still has no more under way than it may.
    channel.postMessage({ version: TABS_VERSION, kind: "took", from, bytes: Number.MAX_SAFE_INTEGER });
    frames(from, { header, bytes });
    await browser.settle();
    expect(one.got()).toBe(1);
  });

  it("are tabs beyond sixty-four, and those that hold no lock", async () => {
    const { browser, all } = await members(1);
    const stranger = browser.tab().openChannel("hyperfile network net");
    const here = { version: TABS_VERSION, kind: "here", cards: [card(5)], isLeading: false, text: "" };
    for (let at = 0; at < 200; at++)
      stranger.postMessage({ ...here, from: `00000000${at.toString(16).padStart(4, "0")}` });
    await new Promise((resolve) => setTimeout(resolve));
    expect(all[0]!.network.others).toBeLessThanOrEqual(64);
    await browser.settle();
    // Whoever has no lock of its own is gone already.
    expect([all[0]!.network.others, all[0]!.neighbours.size]).toEqual([0, 0]);
  });
});
