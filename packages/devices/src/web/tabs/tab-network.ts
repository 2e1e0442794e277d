/**
 * One network in several tabs of an origin: each has a switch of its own, and a cable from it to that of every other tab.
 * Frames go straight to the tab that they are for, and none comes back or goes round: ports to tabs are kept apart.
 *
 * - Who is here is said by messages (`messages.ts`); that a tab is gone, however it went, is known by a lock of its own,
 *   which the browser takes from it then.
 * - Exactly one tab leads: it has the gateway. That is a lock as well, for which all tabs wait, so that another one leads
 *   when it is gone.
 * - Names and addresses of machines are claimed by locks, so that no two tabs have the same.
 *
 * All that other tabs can make grow is bounded: tabs, their cards, and the bytes under way to each.
 */
import { NetworkError } from "../../net/errors.js";
import type { Link, LinkEnd } from "../../net/frame.js";
import {
  costOf,
  enveloped,
  MOST_TEXT,
  parseParcel,
  parseWord,
  type TabCard,
  type TabParcel,
  type TabWord,
} from "./messages.js";
import { TabCable } from "./tab-cable.js";

/** Tabs that are connected with one. */
const MOST_TABS = 64;

/** What of `BroadcastChannel` is used. */
export interface TabChannel {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

/** What of `navigator.locks` is used. */
export interface TabLocks {
  request(
    name: string,
    options: {
      readonly mode?: "exclusive" | "shared";
      readonly ifAvailable?: boolean;
      readonly signal?: AbortSignal;
    },
    held: (lock: object | null) => unknown,
  ): Promise<unknown>;
}

/** What a network of tabs works with. */
export interface TabNetworkOptions {
  /** Its name; tabs whose networks have the same name are in one. */
  readonly name: string;
  /** Gives a cable to another tab a port: one that is kept apart from those to others. */
  connect(end: LinkEnd, port: string): Link;
  /** These are the cards of another tab now; none when it is gone. */
  neighbours(tab: string, cards: readonly TabCard[]): void;
  /** This tab leads from now on, until it leaves. */
  lead(): void;
  /** Tabs have come or gone, or another one leads. */
  changed(): void;
  /** The browser's unless given. */
  readonly locks?: TabLocks;
  readonly openChannel?: (name: string) => TabChannel;
}

interface Peer {
  readonly cable: TabCable;
  readonly channel: TabChannel;
  /** Ends the wait for its end. */
  readonly watch: AbortController;
  isLeading: boolean;
  text: string;
}

const browserLocks = (): TabLocks | undefined =>
  (globalThis as { navigator?: { locks?: TabLocks } }).navigator?.locks;

/** The network, as one tab has it. */
export class TabNetwork {
  /** What came and could not be used: messages and frames of a wrong form, what strangers sent, tabs beyond the most. */
  readonly counters = { malformed: 0, strangers: 0, refused: 0 };
  /** This tab, for others. */
  readonly tab: string = [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
  private readonly peers = new Map<string, Peer>();
  private readonly locks: TabLocks;
  private readonly openChannel: (name: string) => TabChannel;
  private readonly all: TabChannel;
  private readonly own: TabChannel;
  private readonly leaving = new AbortController();
  private cards: readonly TabCard[] = [];
  private text = "";
  private isLeader = false;
  private isSaying = false;
  private hasLeft = false;

  private constructor(private readonly options: TabNetworkOptions) {
    this.locks = options.locks ?? browserLocks()!;
    this.openChannel = options.openChannel ?? ((name) => new BroadcastChannel(name) as TabChannel);
    this.all = this.openChannel(this.scope);
    this.own = this.openChannel(this.channelOf(this.tab));
    this.all.onmessage = ({ data }) => this.hear(data);
    this.own.onmessage = ({ data }) => this.take(data);
  }

  /** Whether tabs can be connected here: there are locks in secure contexts only. */
  static get isPossible(): boolean {
    return browserLocks() !== undefined && typeof BroadcastChannel === "function";
  }

  /**
   * Joins the network of a name.
   * @throws NetworkError `E_NETWORK_HOST` (the promise rejects) where {@link TabNetwork.isPossible} is false
   */
  static async join(options: TabNetworkOptions): Promise<TabNetwork> {
    if (options.locks === undefined && !TabNetwork.isPossible)
      throw new NetworkError(
        "E_NETWORK_HOST",
        "tabs can't share a network here: open the page by https, or from localhost",
      );
    const network = new TabNetwork(options);
    await network.begin();
    return network;
  }

  /** Other tabs that are in it. */
  get others(): number {
    return this.peers.size;
  }

  /** Whether this tab has the gateway. */
  get isLeading(): boolean {
    return this.isLeader;
  }

  /** What the tab with the gateway says that it leads to; undefined while none is known. */
  get leaderText(): string | undefined {
    if (this.isLeader) return this.text;
    return [...this.peers.values()].find(({ isLeading }) => isLeading)?.text;
  }

  /** Tells which cards this tab has now. */
  setCards(cards: readonly TabCard[]): void {
    this.cards = cards;
    this.say();
  }

  /** Tells what the gateway leads to, for those tabs that have none. */
  setText(text: string): void {
    const line = text.slice(0, MOST_TEXT);
    if (line === this.text) return;
    this.text = line;
    this.say();
  }

  /**
   * Claims something for this tab alone, until it is given back or the tab is gone: a name, or an address.
   * @returns what gives it back; undefined if another tab has it, or this one already
   */
  claim(what: string): Promise<(() => void) | undefined> {
    return new Promise((resolve, reject) => {
      const held = (lock: object | null): unknown => {
        if (lock !== null) return new Promise<void>((giveBack) => resolve(giveBack));
        resolve(undefined);
        return undefined;
      };
      this.locks.request(`${this.scope} claim ${what}`, { ifAvailable: true }, held).catch(reject);
    });
  }

  /** Leaves it: others are told, and another one leads. What was claimed stays until it is given back. */
  leave(): void {
    if (this.hasLeft) return;
    this.post({ kind: "gone", from: this.tab });
    this.hasLeft = true;
    this.leaving.abort();
    for (const tab of [...this.peers.keys()]) this.drop(tab);
    this.all.close();
    this.own.close();
  }

  private async begin(): Promise<void> {
    await this.hold(this.lockOf(this.tab));
    void this.hold(`${this.scope} leader`).then(
      () => {
        if (this.hasLeft) return;
        this.isLeader = true;
        this.options.lead();
        this.say();
        this.options.changed();
      },
      () => {},
    );
    this.post(this.here());
    this.post({ kind: "who", from: this.tab });
  }

  /** Waits for a lock, and keeps it until this tab leaves. */
  private hold(name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const { signal } = this.leaving;
      const held = () => {
        resolve();
        return new Promise<void>((release) => {
          if (signal.aborted) release();
          else signal.addEventListener("abort", () => release());
        });
      };
      this.locks.request(name, { signal }, held).catch(reject);
    });
  }

  private hear(data: unknown): void {
    const word = parseWord(data);
    if (word === undefined) {
      this.counters.malformed++;
      return;
    }
    switch (word.kind) {
      case "who":
        this.say();
        break;
      case "gone":
        this.drop(word.from);
        break;
      case "here":
        this.meet(word);
    }
  }

  private meet({ from, cards, isLeading, text }: Extract<TabWord, { kind: "here" }>): void {
    const peer = this.peers.get(from) ?? this.add(from);
    if (peer === undefined) {
      this.counters.refused++;
      return;
    }
    Object.assign(peer, { isLeading, text });
    this.options.neighbours(from, cards);
    this.options.changed();
  }

  private add(tab: string): Peer | undefined {
    if (this.peers.size >= MOST_TABS || tab === this.tab) return undefined;
    const channel = this.openChannel(this.channelOf(tab));
    const post = (parcel: TabParcel) => channel.postMessage(enveloped(parcel));
    const cable = new TabCable((frames) => post({ kind: "frames", from: this.tab, frames }));
    const peer: Peer = { cable, channel, watch: new AbortController(), isLeading: false, text: "" };
    this.peers.set(tab, peer);
    cable.link = this.options.connect(cable, `(tab ${tab})`);
    const { signal } = peer.watch;
    // Its lock is ours to have when it is gone.
    this.locks.request(this.lockOf(tab), { mode: "shared", signal }, () => this.drop(tab)).catch(() => {});
    return peer;
  }

  private drop(tab: string): void {
    const peer = this.peers.get(tab);
    if (peer === undefined) return;
    this.peers.delete(tab);
    peer.watch.abort();
    peer.cable.close();
    peer.channel.close();
    this.options.neighbours(tab, []);
    if (!this.hasLeft) this.options.changed();
  }

  private take(data: unknown): void {
    const parcel = parseParcel(data);
    if (parcel === undefined) {
      this.counters.malformed++;
      return;
    }
    const peer = this.peers.get(parcel.from);
    if (peer === undefined) {
      this.counters.strangers++;
      return;
    }
    if (parcel.kind === "took") {
      peer.cable.took(parcel.bytes);
      return;
    }
    const { frames } = parcel;
    this.counters.malformed += peer.cable.arrive(frames);
    const bytes = frames.reduce((sum, frame) => sum + costOf(frame), 0);
    if (bytes > 0) peer.channel.postMessage(enveloped({ kind: "took", from: this.tab, bytes }));
  }

  /** Says that this tab is here, once for all that has changed by then. */
  private say(): void {
    if (this.isSaying) return;
    this.isSaying = true;
    queueMicrotask(() => {
      this.isSaying = false;
      this.post(this.here());
    });
  }

  private here(): TabWord {
    const { tab: from, cards, isLeader: isLeading, text } = this;
    return { kind: "here", from, cards, isLeading, text };
  }

  private post(word: TabWord): void {
    if (!this.hasLeft) this.all.postMessage(enveloped(word));
  }

  /** What channels and locks are named after. */
  private get scope(): string {
    return `hyperfile network ${this.options.name}`;
  }

  private channelOf(tab: string): string {
    return `${this.scope} ${tab}`;
  }

  private lockOf(tab: string): string {
    return `${this.scope} tab ${tab}`;
  }
}
