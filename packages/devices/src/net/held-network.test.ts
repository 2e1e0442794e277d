import { expect, test } from "vitest";
import { plainFrame, RecordingEnd } from "../../test/net-ends.js";
import { BROADCAST_MAC } from "./addresses.js";
import type { Link } from "./frame.js";
import { HeldNetwork } from "./held-network.js";
import { Switch } from "./switch/switch.js";

/** An end that knows of its link. */
class Ended extends RecordingEnd {
  link!: Link;

  override linkChanged(isUp: boolean): void {
    // Its link says the same by then.
    super.linkChanged(isUp && this.link.isUp);
  }
}
const attached = (network: HeldNetwork | Switch): Ended => {
  const end = new Ended();
  end.link = network.connect(end);
  return end;
};

test("nothing passes before the cable is plugged in, both ways, and all does afterwards", () => {
  const lan = new Switch();
  const other = attached(lan);
  const held = new HeldNetwork(lan);
  const [card, early] = [attached(held), attached(held)];
  expect([card.link.isUp, card.link.isFull]).toEqual([false, false]);
  const frame = plainFrame(BROADCAST_MAC, 2);
  card.link.send(frame);
  card.link.ready();
  other.link.send(plainFrame(BROADCAST_MAC, 4));
  early.link.disconnect();
  expect([other.take(), card.take(), lan.addresses.map(({ mac }) => mac)]).toEqual([[], [], [4]]);

  held.letIn();
  held.letIn();
  expect([card.states, early.states, card.link.isUp]).toEqual([[true], [], true]);
  card.link.send(frame);
  other.link.send(plainFrame(2, 4));
  expect([other.take(), card.take()]).toEqual([[frame.bytes], [plainFrame(2, 4).bytes]]);
  card.link.disconnect();
  expect(lan.addresses.map(({ mac }) => mac)).toEqual([4]);
  const late = attached(held);
  expect(late.link.isUp).toBe(true);
});
