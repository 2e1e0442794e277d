/**
 * The network of the page's VMs, which is one with those of other tabs of the origin: a switch here, cables to the others,
 * and the gateway while this tab leads. Names and addresses of VMs are claimed, so that each is there once.
 */
import type { InlineFleet, InlineNic, NetworkSpec } from "@hyperfile/broker/inline";
import { Lan, noOutside, type Outside } from "@hyperfile/devices/net";
import { TabNetwork } from "@hyperfile/devices/web";
import { type NetworkFigures, type OutsideChoice, PAGE_NETWORK } from "./protocol.js";

/** Names that are tried for a VM. */
const MOST_NAMES = 1000;

/** Where the gateway leads, and what ends that. */
type Way = Outside & { close?(): void };

/** The network. */
export class PageNetwork {
  private lan: Lan | undefined;
  private tabs: TabNetwork | undefined;
  private way: Way | undefined;
  private text = "";
  private hasBegun = false;
  /** What gives back what a VM has for itself among all tabs. */
  private readonly claims = new Map<string, (() => void)[]>();
  /** Counts choices: what an earlier one has to say is of no interest. */
  private choice = 0;

  constructor(
    private readonly fleet: InlineFleet,
    private outside: OutsideChoice,
  ) {}

  /** Makes it, for the fleet. */
  open(spec: NetworkSpec): Lan {
    this.lan = new Lan(spec);
    return this.lan;
  }

  /** Joins other tabs; where there can be none this tab has the gateway. */
  async begin(): Promise<void> {
    const { lan } = this;
    if (!TabNetwork.isPossible) {
      await this.lead(this.outside);
      this.hasBegun = true;
      return;
    }
    this.tabs = await TabNetwork.join({
      name: PAGE_NETWORK,
      connect: (end, name) => lan!.switch.connect(end, { name, isIsolated: true }),
      neighbours: (tab, cards) => lan!.setNeighbours(tab, cards),
      lead: () => void this.lead(this.outside),
      changed: () => {},
    });
    // What was told while it joined.
    this.tabs.setText(this.text);
    this.hasBegun = true;
  }

  /** Chooses where the gateway leads, now if it is here, and when it comes here. */
  async lead(outside: OutsideChoice): Promise<void> {
    this.outside = outside;
    if (this.tabs?.isLeading === false) return;
    const choice = ++this.choice;
    const tell = (text: string): void => {
      if (choice !== this.choice) return;
      this.text = text;
      this.tabs?.setText(text);
    };
    let way: Way = noOutside;
    if (outside.kind !== "none") {
      const { openWay } = await import("./ways.js");
      if (choice !== this.choice) return;
      try {
        way = openWay(outside, tell);
      } catch (error) {
        tell((error as Error).message);
      }
    } else tell("Nothing outside can be reached.");
    const before = this.way;
    this.way = way;
    this.lan!.setOutside(way);
    before?.close?.();
  }

  /** A place for a VM: a name and an address that no other tab has. */
  async claim(vm: string): Promise<InlineNic> {
    const { tabs, fleet } = this;
    if (tabs === undefined) return { network: PAGE_NETWORK };
    if (this.claims.has(vm)) throw new Error(`there is a VM ${vm} already: use another name`);
    const claims: (() => void)[] = [];
    this.claims.set(vm, claims);
    try {
      const hostName = await firstClaim(namesFor(vm), (name) => tabs.claim(`name ${name}`), claims);
      const taken = new Set<string>();
      const addresses = function* () {
        for (;;) {
          const address = fleet.networks.addressFor(PAGE_NETWORK, hostName!, (each) => taken.has(each));
          if (address === undefined) return;
          taken.add(address);
          yield address;
        }
      };
      const address = await firstClaim(addresses(), (each) => tabs.claim(`address ${each}`), claims);
      if (hostName === undefined || address === undefined)
        throw new Error(
          `network ${PAGE_NETWORK} has no place left for ${vm}: remove machines of this tab or others`,
        );
      return { network: PAGE_NETWORK, hostName, address };
    } catch (error) {
      this.giveBack(vm);
      throw error;
    }
  }

  /** A VM is no more. */
  giveBack(vm: string): void {
    for (const giveBack of this.claims.get(vm) ?? []) giveBack();
    this.claims.delete(vm);
  }

  /** Tells other tabs which cards there are. */
  announce(): void {
    const nics = this.fleet.figures().flatMap((vm) => vm.nics);
    this.tabs?.setCards(
      nics
        .filter(({ network }) => network === PAGE_NETWORK)
        .map(({ hostName, mac, address }) => ({ vm: hostName, mac, address })),
    );
  }

  /** Undefined until it has begun. */
  get figures(): NetworkFigures | undefined {
    const { tabs, text } = this;
    if (!this.hasBegun) return undefined;
    if (tabs === undefined)
      return {
        ...{ tabs: 1, isLeading: true, malformed: 0 },
        text: `${text} Other tabs are not connected: that takes a page from localhost or by https.`,
      };
    const { others, isLeading, leaderText, counters } = tabs;
    return {
      tabs: others + 1,
      isLeading: leaderText === undefined ? undefined : isLeading,
      text: leaderText ?? "",
      malformed: counters.malformed + counters.strangers,
    };
  }
}

/** Names for a VM: its own, and then such as others of the kind have. */
function* namesFor(vm: string): Generator<string> {
  yield vm;
  const base = vm.replace(/-\d+$/, "");
  for (let number = 2; number < MOST_NAMES; number++)
    if (`${base}-${number}` !== vm) yield `${base}-${number}`;
}

/** The first of all that can be claimed. */
async function firstClaim(
  wishes: Iterable<string>,
  claim: (wish: string) => Promise<(() => void) | undefined>,
  claims: (() => void)[],
): Promise<string | undefined> {
  for (const wish of wishes) {
    const claimed = await claim(wish);
    if (claimed === undefined) continue;
    claims.push(claimed);
    return wish;
  }
  return undefined;
}
