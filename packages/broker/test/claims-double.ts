/** What VMs take of the host for themselves, with account of who has it. */
import type { HostClaim, TakeClaim } from "../src/lifecycle/host-claim.js";

/** Claims that are given out and come back. */
export class ClaimsDouble {
  /** Who has something, each as often as it has. */
  readonly held: string[] = [];
  /** What taking and sharing wait for. */
  before: () => Promise<void> = async () => {};

  readonly take: TakeClaim = ({ name }) => this.give(name);

  private async give(name: string): Promise<HostClaim> {
    await this.before();
    this.held.push(name);
    let isHeld = true;
    return {
      share: ({ name: other }) => this.give(other),
      release: () => {
        if (isHeld) this.held.splice(this.held.indexOf(name), 1);
        isHeld = false;
      },
    };
  }
}
