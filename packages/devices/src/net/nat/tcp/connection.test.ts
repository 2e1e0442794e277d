import { describe, expect, test } from "vitest";
import { generator } from "../../../../test/disk-model.js";
import { type PlainSegment, SimpleTcp } from "../../../../test/simple-tcp.js";
import { VirtualTimers } from "../../../../test/virtual-timers.js";
import { TcpConnection, type TcpUser } from "./connection.js";

const MSS = 1460;
const CAPACITY = 65_536;

/** What a user saw. */
class Recorder implements TcpUser {
  readonly events: string[] = [];
  readonly pieces: Uint8Array[] = [];
  bytes = 0;
  takes = true;
  onDrained: () => void = () => {};
  opened(): void {
    this.events.push("opened");
  }
  data(bytes: Uint8Array): boolean {
    this.pieces.push(bytes);
    this.bytes += bytes.length;
    return this.takes;
  }
  ended(): void {
    this.events.push("ended");
  }
  drained(): void {
    this.onDrained();
  }
  closed(isBroken: boolean): void {
    this.events.push(isBroken ? "broken" : "closed");
  }
}

/** The stack and a peer over a link that loses, repeats and reorders. */
function joined(seed: number, faults: number, peer: { sack?: boolean; shift?: number } = {}) {
  const timers = new VirtualTimers();
  const random = generator(seed);
  const user = new Recorder();
  let segments = 0;
  let gone = false;
  let most = 0;
  const carry = (deliver: () => void): void => {
    segments++;
    const copies = random(1000) < faults ? random(3) : 1;
    for (let copy = 0; copy < copies; copy++)
      timers.after(1 + (random(1000) < faults ? random(30) : 0), deliver);
  };
  const initial = random(2 ** 31) * 2;
  const connection: TcpConnection = new TcpConnection(
    {
      timers,
      transmit: (segment, mss) => {
        const { data, ...rest } = segment;
        const whole = Uint8Array.from(data.flatMap((piece) => [...piece]));
        for (let at = 0; at === 0 || at < whole.length; at += mss) {
          const part = whole.subarray(at, at + mss);
          const isLast = at + mss >= whole.length;
          const flags = isLast ? rest.flags : rest.flags & ~9;
          const cut = { ...rest, flags, sequence: (rest.sequence + at) >>> 0, data: part };
          carry(() => other.receive(cut));
        }
      },
      capacity: () => CAPACITY,
      gone: () => {
        gone = true;
      },
    },
    user,
    { family: 4, mss: MSS, initial },
  );
  const other = new SimpleTcp(
    timers,
    (segment: PlainSegment) =>
      carry(() => {
        if ((segment.flags & 2) !== 0 && segment.acknowledgement === 0) {
          if (!hasListened) {
            hasListened = true;
            connection.listen({ ...segment, sourcePort: 1, destinationPort: 2 });
            connection.accept();
            return;
          }
        }
        if (hasListened) connection.receive({ ...segment, sourcePort: 1, destinationPort: 2 });
        most = Math.max(most, connection.bytes);
      }),
    random(2 ** 31) * 2 + 1,
    peer,
  );
  let hasListened = false;
  return {
    ...{ timers, user, connection, other, random },
    isGone: () => gone,
    most: () => most,
    segments: () => segments,
    until: (isDone: () => boolean, most = 3_600_000) => {
      for (const end = timers.now() + most; !isDone() && timers.step(end); );
      return isDone();
    },
  };
}
const pattern = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 0xff);
const same = (pieces: readonly Uint8Array[], bytes: Uint8Array): boolean =>
  Buffer.compare(Buffer.concat(pieces), Buffer.from(bytes)) === 0;

describe.each([
  ["without options", {}],
  ["with SACK and window scaling", { sack: true, shift: 3 }],
] as const)("a peer %s", (_, peer) => {
  test.each([
    ["a good link", 0, 20],
    ["5 % of loss, repetition and delay", 50, 60],
    ["30 %", 300, 20],
  ])(
    "over %s gets and gives every byte",
    (_name, faults, runs) => {
      for (let seed = 0; seed < runs; seed++) {
        const { connection, other, user, until, timers, isGone, random, most } = joined(seed, faults, peer);
        const [to, from] = [pattern(random(60_000), seed), pattern(random(60_000), seed + 1)];
        other.connect();
        expect(
          until(() => user.events.includes("opened")),
          `seed ${seed}`,
        ).toBe(true);
        other.write(from);
        for (let at = 0; at < to.length; ) {
          const step = 1 + random(20_000);
          connection.write(to.slice(at, at + step));
          at += step;
          if (random(2) === 0) timers.advance(random(50));
        }
        if (random(2) === 0) until(() => other.receivedBytes === to.length);
        connection.end();
        other.end();
        const isDone = until(() => user.events.includes("closed") && other.isFinished);
        expect(
          [isDone, user.events],
          `seed ${seed} ${other.receivedBytes}/${to.length} ${user.bytes}/${from.length}`,
        ).toEqual([true, ["opened", "ended", "closed"]]);
        expect([same(other.received, to), same(user.pieces, from)], `seed ${seed}`).toEqual([true, true]);
        expect(most()).toBeLessThanOrEqual(2 * CAPACITY + 60_000);
        timers.advance(600_000);
        expect([isGone(), timers.pending, connection.bytes]).toEqual([true, 0, 0]);
      }
    },
    300_000,
  );
});
