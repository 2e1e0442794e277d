/**
 * The forwards of a VM: what its Hyperfile says, and what was added and removed at run time, which stays when the file is
 * read again. A forward may be there twice where it takes any port; one of them counts then.
 *
 * Invariant: while the VM is up, its network has the same forwards in the same order, with the ports that they got. So
 * they are changed one after another.
 */
import { type ForwardSpec, formatForward, isSameForward } from "../hyperfile/net-text.js";
import { forwardRefusal } from "../hyperfile/networks.js";
import { hint } from "../hyperfile/suggest.js";
import type { NicSpec } from "../hyperfile/types.js";
import { LifecycleError } from "./errors.js";
import type { NicReport, VmNetwork } from "./host-claim.js";

/** What they have of their VM. */
export interface ForwardsHost {
  readonly name: string;
  /** Its cards as they are to be, whether it is up or not. */
  nics: readonly NicSpec[];
  /** Its network if it is up; waited for if it comes up. */
  network(): Promise<VmNetwork | undefined>;
  /** Its cards as they are. */
  report(): readonly NicReport[];
  changed(what: string): void;
}

/** The forwards of one VM. */
export class VmForwards {
  private turn: Promise<void> = Promise.resolve();

  /** @param declared what the Hyperfile says of its cards */
  constructor(
    private readonly host: ForwardsHost,
    public declared: readonly NicSpec[],
  ) {}

  /**
   * Adds one, at once if the VM is up, and for its later lives.
   * @param card its number; the first that can have forwards unless given
   * @returns the forward, with the port that it has if the VM is up
   * @throws LifecycleError `E_SETTING` (the promise rejects); what the network throws for a port that can't be had
   */
  add(forward: ForwardSpec, card?: number): Promise<ForwardSpec> {
    return this.inTurn(async () => {
      const { name, nics } = this.host;
      const free = nics.findIndex((nic) => forwardRefusal(nic) === undefined);
      const at = card ?? Math.max(0, free);
      const nic = nics[at];
      const refusal = nic === undefined ? `it has ${nics.length} network cards` : forwardRefusal(nic);
      if (refusal !== undefined)
        throw new LifecycleError("E_SETTING", `nothing can lead to card ${at} of VM ${name}: ${refusal}`);
      return this.addTo(at, forward);
    });
  }

  /** Ends one, by the port that it has. @throws LifecycleError `E_SETTING` (the promise rejects) if there is none */
  remove(forward: ForwardSpec): Promise<void> {
    return this.inTurn(async () => {
      const nics = this.host.report();
      const card = nics.findIndex(({ forwards }) => forwards.some((each) => isSameForward(each, forward)));
      if (card < 0) {
        const all = nics.flatMap(({ forwards }) => forwards.map(formatForward));
        throw new LifecycleError(
          "E_SETTING",
          `VM ${this.host.name} has no forward ${formatForward(forward)}; ${hint(formatForward(forward), all, "forwards")}`,
        );
      }
      // For any port they have another number here than there.
      const place = nics[card]!.forwards.findIndex((each) => isSameForward(each, forward));
      await this.removeFrom(card, place);
    });
  }

  /**
   * Makes them as the Hyperfile says them now, but for what was changed at run time.
   * @param nics its cards, which differ in forwards only from those that it said before
   * @throws what the network throws for a port that can't be had (the promise rejects); what was done by then stays
   */
  follow(nics: readonly NicSpec[]): Promise<void> {
    return this.inTurn(async () => {
      const wanted = withChanges(this.declared, this.host.nics, nics);
      for (const [card, { forwards }] of wanted.entries()) {
        const before = this.host.nics[card]!.forwards;
        // Those that go first: another may want the port.
        for (const gone of without(before, forwards)) {
          await this.removeFrom(
            card,
            this.host.nics[card]!.forwards.findIndex((each) => isSameForward(each, gone)),
          );
          this.declare(card, (said) => without(said, [gone]));
        }
        for (const come of without(forwards, before)) {
          await this.addTo(card, come);
          this.declare(card, (said) => [...said, come]);
        }
      }
      this.declared = nics;
    });
  }

  /** Cards as the Hyperfile says them now, with what was changed at run time, for a VM that is off. */
  declareAnew(nics: readonly NicSpec[]): void {
    const { declared, host } = this;
    host.nics = withChanges(declared, host.nics, nics);
    this.declared = nics;
  }

  private declare(card: number, change: (forwards: readonly ForwardSpec[]) => readonly ForwardSpec[]): void {
    this.declared = changed(this.declared, card, change);
  }

  private async addTo(card: number, forward: ForwardSpec): Promise<ForwardSpec> {
    const made = (await (await this.host.network())?.addForward(card, forward)) ?? forward;
    this.host.nics = changed(this.host.nics, card, (forwards) => [...forwards, forward]);
    this.host.changed(`forward ${formatForward(made)} added`);
    return made;
  }

  private async removeFrom(card: number, place: number): Promise<void> {
    const network = await this.host.network();
    const forward = this.host.report()[card]!.forwards[place]!;
    await network?.removeForward(card, forward);
    this.host.nics = changed(this.host.nics, card, (forwards) => forwards.filter((_, at) => at !== place));
    this.host.changed(`forward ${formatForward(forward)} removed`);
  }

  private inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const result = this.turn.then(act);
    const over = (): void => {};
    this.turn = result.then(over, over);
    return result;
  }
}

/**
 * Cards as a Hyperfile says them anew, with what was changed of their forwards since it was read.
 * @param before what it said
 * @param now as they are
 */
export function withChanges(
  before: readonly NicSpec[],
  now: readonly NicSpec[],
  after: readonly NicSpec[],
): NicSpec[] {
  return after.map((nic, at) => {
    const [said, is] = [before[at], now[at]];
    const isSame = said !== undefined && said.network?.name === nic.network?.name;
    if (!isSame || is === undefined || forwardRefusal(nic) !== undefined) return nic;
    const added = without(is.forwards, said.forwards);
    const kept = without(nic.forwards, without(said.forwards, is.forwards));
    // What the file has got now as well is there once.
    return { ...nic, forwards: [...kept, ...without(added, without(nic.forwards, said.forwards))] };
  });
}

/** Cards without what leads to them. */
export const bareNics = (nics: readonly NicSpec[]): NicSpec[] =>
  nics.map((nic) => ({ ...nic, forwards: [] }));

/** Those that others have not as often. */
function without(all: readonly ForwardSpec[], others: readonly ForwardSpec[]): ForwardSpec[] {
  const left = others.map(formatForward);
  return all.filter((forward) => {
    const at = left.indexOf(formatForward(forward));
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

const changed = (
  nics: readonly NicSpec[],
  card: number,
  change: (forwards: readonly ForwardSpec[]) => readonly ForwardSpec[],
): NicSpec[] => nics.map((nic, at) => (at === card ? { ...nic, forwards: change(nic.forwards) } : nic));
