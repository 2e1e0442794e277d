import { describe, expect, it } from "vitest";
import type { GuestStream, GuestStreamEvents } from "./guest-port.js";
import { GuestStreams, ServedStreams, type StreamMessage } from "./guest-streams.js";

/** What a stream told, in order. */
function noted(): { readonly events: GuestStreamEvents; readonly told: string[]; bytes: number } {
  const told: string[] = [];
  const note = {
    told,
    bytes: 0,
    events: {
      opened: () => void told.push("opened"),
      failed: (why: string) => void told.push(`failed: ${why}`),
      data: (data: Uint8Array) => {
        note.bytes += data.length;
        if (told.at(-1) !== "data") told.push("data");
      },
      ended: () => void told.push("ended"),
      drained: () => void told.push("drained"),
      closed: (isBroken: boolean) => void told.push(isBroken ? "broken" : "closed"),
    },
  };
  return note;
}

/** A daemon and a thread with a guest whose stream is in a test's hands. Messages are copied, as between threads. */
function relay() {
  const guest: { events?: GuestStreamEvents; isFull: boolean; calls: string[]; bytes: number } = {
    isFull: false,
    calls: [],
    bytes: 0,
  };
  let mostUnderWay = 0;
  let underWay = 0;
  const pass = (message: StreamMessage): StreamMessage => {
    if (message.kind === "data") underWay += message.bytes.length;
    if (message.kind === "taken") underWay -= message.bytes;
    mostUnderWay = Math.max(mostUnderWay, underWay);
    return structuredClone(message);
  };
  const connect = (port: number, events: GuestStreamEvents): GuestStream => {
    guest.calls.push(`connect ${port}`);
    guest.events = events;
    return {
      write: (data) => {
        guest.bytes += data.length;
        return !guest.isFull;
      },
      end: () => void guest.calls.push("end"),
      reset: () => void guest.calls.push("reset"),
      setReading: (isReading) => void guest.calls.push(isReading ? "read" : "hold"),
    };
  };
  const served = new ServedStreams((stream, message) => streams.hear(stream, pass(message)));
  const streams: GuestStreams = new GuestStreams((stream, message) =>
    served.hear(connect, stream, pass(message)),
  );
  return { guest, streams, served, mostUnderWay: () => mostUnderWay };
}

describe("streams between daemon and thread", () => {
  it("carry bytes, ends and their close in order", () => {
    const { guest, streams } = relay();
    const note = noted();
    const stream = streams.connect(7, note.events);
    stream.write(new Uint8Array(3));
    guest.events!.opened();
    guest.events!.data(new Uint8Array(5));
    stream.end();
    guest.events!.ended();
    guest.events!.closed(false);
    expect(guest.calls).toEqual(["connect 7", "end"]);
    expect([guest.bytes, note.bytes]).toEqual([3, 5]);
    expect(note.told).toEqual(["opened", "data", "ended", "closed"]);
    // It is over: nothing goes anywhere.
    stream.write(new Uint8Array(3));
    expect(guest.bytes).toBe(3);
  });

  it("fail as the guest says", () => {
    const { guest, streams } = relay();
    const note = noted();
    streams.connect(7, note.events);
    guest.events!.failed("refused");
    guest.events!.closed(true);
    expect(note.told).toEqual(["failed: refused"]);
  });

  it("hold the guest where the client does not read, with a bounded number of bytes under way", () => {
    const { guest, streams, mostUnderWay } = relay();
    const note = noted();
    const stream = streams.connect(19, note.events);
    stream.setReading(false);
    let sent = 0;
    for (; !guest.calls.includes("hold"); sent += 16_384) guest.events!.data(new Uint8Array(16_384));
    expect([sent, note.bytes]).toEqual([262_144, 0]);
    guest.events!.ended();
    guest.events!.closed(false);
    expect(note.told).toEqual([]);
    stream.setReading(true);
    expect(note.bytes).toBe(sent);
    expect(note.told).toEqual(["data", "ended", "closed"]);
    expect(mostUnderWay()).toBe(262_144);
  });

  it("hold the client where the guest does not read", () => {
    const { guest, streams } = relay();
    const note = noted();
    const stream = streams.connect(9, note.events);
    guest.isFull = true;
    let sent = 0;
    while (stream.write(new Uint8Array(16_384))) sent += 16_384;
    // What was on its way when the guest would have no more, and the window.
    expect(sent).toBeLessThanOrEqual(2 * 262_144);
    expect(guest.bytes).toBe(16_384);
    guest.isFull = false;
    guest.events!.drained();
    expect(guest.bytes).toBe(sent + 16_384);
    expect(note.told).toEqual(["drained"]);
  });

  it("end on both sides with the guest, and with the client", () => {
    const { guest, streams, served } = relay();
    const [one, other] = [noted(), noted()];
    streams.connect(7, one.events);
    served.close();
    expect(one.told).toEqual(["broken"]);
    const stream = streams.connect(7, other.events);
    stream.reset();
    expect(guest.calls.slice(-1)).toEqual(["reset"]);
    guest.events!.data(new Uint8Array(1));
    expect(other.told).toEqual([]);
    const last = noted();
    streams.connect(7, last.events).setReading(false);
    guest.events!.data(new Uint8Array(1));
    streams.close();
    expect(last.told).toEqual(["data", "broken"]);
  });
});
