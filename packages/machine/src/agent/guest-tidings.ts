/**
 * What a guest is told through its agent, where it has one that answers: that it is a clone, with a host name, a machine
 * id and addresses of its own, and what time it is after it stood still. Nothing waits for it, and where it can't be told the machine's
 * clock makes up for the time by itself.
 */
import type { MachineClock } from "../vm/clock.js";
import { AgentClient } from "./client.js";
import { setGuestTime } from "./guest-time.js";
import { type IndividualCard, makeIndividual } from "./individual.js";
import type { ConnectAgent } from "./stream.js";

/** Milliseconds of standing still after which a guest is told the time: what is shorter is made up for before it would be. */
const LONG_MS = 1000;

/** What is asked of a machine that has tidings for its guest. */
export interface TidingsMachine {
  /** Its device for sockets; without one nothing is told. */
  readonly vsock: { connect: ConnectAgent } | undefined;
  readonly clock: Pick<MachineClock, "leaveOut" | "owe">;
}

/** The tidings of one machine. */
export class GuestTidings {
  private readonly agent: AgentClient | undefined;

  /** @param followsHost whether the guest's time of day is to be the host's, also after it stood still */
  constructor(
    private readonly machine: TidingsMachine,
    private readonly followsHost: boolean,
  ) {
    const { vsock } = machine;
    if (vsock !== undefined) this.agent = new AgentClient((port, events) => vsock.connect(port, events));
  }

  /**
   * The machine goes on as a clone.
   * @param hostName the name of its VM
   * @param cards with the address that the original's guest has, and the one that its network lets through
   */
  async cloned(hostName: string, cards: readonly IndividualCard[]): Promise<void> {
    const { agent } = this;
    if (agent === undefined) return;
    await this.tellTime();
    // A name that no host can have leaves the guest its own, and so does a network that gives no addresses.
    for (const individual of [{ hostName, cards }, { cards }, { hostName }, {}]) {
      const isDone = await makeIndividual(agent, individual).then(
        () => true,
        () => false,
      );
      if (isDone) return;
    }
  }

  /** The machine goes on from a snapshot. */
  restored(): Promise<void> {
    return this.tellTime();
  }

  /** The machine goes on after it has stood still for so many milliseconds. */
  async stoodStill(milliseconds: number): Promise<void> {
    if (milliseconds >= LONG_MS) await this.tellTime();
  }

  private async tellTime(): Promise<void> {
    if (this.agent === undefined || !this.followsHost) return;
    await setGuestTime(this.agent, this.machine.clock).catch(() => {});
  }
}
