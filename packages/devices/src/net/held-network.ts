/**
 * A cable that is plugged in later: the card of a clone has the original's address until its guest was told another, and one
 * network can't have two of that.
 */
import type { Frame, Link, LinkEnd, Network } from "./frame.js";

/** A network that what is connected to it gets into when it is let in. */
export class HeldNetwork implements Network {
  private isOpen = false;
  private readonly cables = new Set<HeldCable>();

  /** @param network where the cables lead to */
  constructor(private readonly network: Network) {}

  connect(end: LinkEnd): Link {
    if (this.isOpen) return this.network.connect(end);
    const cable = new HeldCable(end, () => this.cables.delete(cable));
    this.cables.add(cable);
    return cable;
  }

  /** Plugs all cables in; each end sees its link come up. A second call does nothing. */
  letIn(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    for (const cable of this.cables) cable.plugIn(this.network);
    this.cables.clear();
  }
}

class HeldCable implements Link {
  private link: Link | undefined;

  constructor(
    private readonly end: LinkEnd,
    private readonly gone: () => void,
  ) {}

  get isUp(): boolean {
    return this.link?.isUp ?? false;
  }

  get isFull(): boolean {
    return this.link?.isFull ?? false;
  }

  plugIn(network: Network): void {
    this.link = network.connect(this.end);
    this.end.linkChanged?.(this.link.isUp);
  }

  send(frame: Frame): void {
    this.link?.send(frame);
  }

  ready(): void {
    this.link?.ready();
  }

  disconnect(): void {
    this.link?.disconnect();
    this.gone();
  }
}
