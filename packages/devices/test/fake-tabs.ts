/** Channels and locks as a browser has them between its tabs, in one thread: messages are copied, and come later. */
import type { TabChannel, TabLocks } from "../src/web/tabs/tab-network.js";

interface Waiting {
  readonly tab: FakeTab;
  readonly isShared: boolean;
  begin(): void;
}

/** A browser. */
export class FakeBrowser {
  readonly channels = new Set<FakeChannel>();
  readonly holders = new Map<string, Waiting[]>();
  readonly queues = new Map<string, Waiting[]>();
  /** Tabs whose messages are not delivered, as if they did not run. */
  readonly frozen = new Set<FakeTab>();

  tab(): FakeTab {
    return new FakeTab(this);
  }

  /** Lets all messages come that are under way. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setTimeout(resolve));
  }

  grant(name: string): void {
    const holders = this.holders.get(name) ?? [];
    this.holders.set(name, holders);
    const queue = this.queues.get(name) ?? [];
    for (let next = queue[0]; next !== undefined; next = queue[0]) {
      const isFree = holders.length === 0 || (next.isShared && holders.every(({ isShared }) => isShared));
      if (!isFree) return;
      queue.shift();
      holders.push(next);
      next.begin();
    }
  }

  release(name: string, holder: Waiting): void {
    const holders = this.holders.get(name) ?? [];
    const at = holders.indexOf(holder);
    if (at < 0) return;
    holders.splice(at, 1);
    this.grant(name);
  }
}

/** A tab. */
export class FakeTab {
  isGone = false;
  /** Messages that wait for it. */
  readonly inbox: (() => void)[] = [];

  constructor(private readonly browser: FakeBrowser) {}

  readonly openChannel = (name: string): FakeChannel => new FakeChannel(this.browser, this, name);

  readonly locks: TabLocks = {
    request: (name, { mode, ifAvailable, signal }, held) =>
      new Promise((resolve, reject) => {
        const { browser } = this;
        const isShared = mode === "shared";
        const waiting: Waiting = {
          ...{ tab: this, isShared },
          begin: () => {
            void Promise.resolve(held({ name })).then((result) => {
              browser.release(name, waiting);
              resolve(result);
            }, reject);
          },
        };
        const holders = browser.holders.get(name) ?? [];
        const isFree = holders.length === 0 || (isShared && holders.every((each) => each.isShared));
        if (ifAvailable === true && !isFree) {
          resolve(held(null));
          return;
        }
        const queue = browser.queues.get(name) ?? [];
        browser.queues.set(name, queue);
        queue.push(waiting);
        signal?.addEventListener("abort", () => {
          const at = queue.indexOf(waiting);
          if (at < 0) return;
          queue.splice(at, 1);
          reject(new DOMException("aborted", "AbortError"));
        });
        // Locks are granted later, never at once.
        setTimeout(() => browser.grant(name));
      }),
  };

  /** It is gone without a word: its messages are nobody's, its locks are free. */
  crash(): void {
    const { browser } = this;
    this.isGone = true;
    for (const channel of [...browser.channels]) if (channel.tab === this) channel.close();
    for (const [name, queue] of browser.queues) {
      browser.queues.set(
        name,
        queue.filter(({ tab }) => tab !== this),
      );
      for (const holder of [...(browser.holders.get(name) ?? [])])
        if (holder.tab === this) browser.release(name, holder);
    }
  }

  /** Takes the messages that came while it was frozen. */
  thaw(): void {
    this.browser.frozen.delete(this);
    for (const take of this.inbox.splice(0)) take();
  }
}

/** A channel. */
export class FakeChannel implements TabChannel {
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;

  constructor(
    private readonly browser: FakeBrowser,
    readonly tab: FakeTab,
    private readonly name: string,
  ) {
    browser.channels.add(this);
  }

  postMessage(message: unknown): void {
    if (!this.browser.channels.has(this)) throw new Error("the channel is closed");
    for (const other of this.browser.channels) {
      if (other === this || other.name !== this.name) continue;
      const data = structuredClone(message);
      const take = () => {
        if (this.browser.channels.has(other)) other.onmessage?.({ data });
      };
      setTimeout(() => {
        if (this.browser.frozen.has(other.tab)) other.tab.inbox.push(take);
        else take();
      });
    }
  }

  close(): void {
    this.browser.channels.delete(this);
  }
}
