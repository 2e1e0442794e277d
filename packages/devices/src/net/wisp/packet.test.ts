import fc from "fast-check";
import { expect, test } from "vitest";
import { parseWisp, wispClose, wispConnect, wispContinue, wispData } from "./packet.js";

const number = fc.nat({ max: 0xffff_ffff });
const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6(),
  fc
    .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
    .filter((text) => /^[^\p{C}\p{Z}]+$/u.test(text)),
);

test("what is written is read: every packet, every number, every host", () => {
  fc.assert(
    fc.property(
      number,
      fc.constantFrom("tcp" as const, "udp" as const),
      host,
      fc.integer({ min: 1, max: 65535 }),
      (stream, protocol, name, port) => {
        expect(parseWisp(wispConnect(stream, protocol, name, port))).toEqual({
          ...{ type: "connect", stream, protocol, host: name, port },
        });
      },
    ),
  );
  fc.assert(
    fc.property(number, fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 4 }), (stream, pieces) => {
      const data = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
      expect(parseWisp(wispData(stream, pieces))).toEqual({ type: "data", stream, data });
    }),
  );
  fc.assert(
    fc.property(number, number, fc.nat({ max: 255 }), (stream, count, reason) => {
      expect(parseWisp(wispContinue(stream, count))).toEqual({ type: "continue", stream, count });
      expect(parseWisp(wispClose(stream, reason))).toEqual({ type: "close", stream, reason });
    }),
  );
});

test("the bytes are those of the protocol", () => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  expect(hex(wispConnect(0x04030201, "tcp", "a.b", 0x1234))).toBe("010102030401" + "3412" + "612e62");
  expect(hex(wispConnect(1, "udp", "::1", 53))).toBe("0101000000023500" + "3a3a31");
  expect(hex(wispData(7, [Uint8Array.of(1), Uint8Array.of(2, 3)]))).toBe("0207000000010203");
  expect(hex(wispContinue(0, 128))).toBe("030000000080000000");
  expect(hex(wispClose(9, 0x48))).toBe("040900000048");
});

test("whatever comes is a packet that is written the same, or is said to be malformed", () => {
  const nearly = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .tuple(fc.integer({ min: 0, max: 6 }), fc.uint8Array({ maxLength: 40 }))
      .map(([type, rest]) => Uint8Array.of(type, ...rest)),
    fc
      .tuple(
        fc.uint8Array({ minLength: 4, maxLength: 4 }),
        fc.integer({ min: 0, max: 3 }),
        fc.uint8Array({ maxLength: 300 }),
      )
      .map(([stream, protocol, rest]) => Uint8Array.of(1, ...stream, protocol, ...rest)),
  );
  let [good, bad] = [0, 0];
  fc.assert(
    fc.property(nearly, (bytes) => {
      const packet = parseWisp(bytes);
      if (packet.type === "malformed") {
        bad++;
        expect(packet.why).toMatch(/^(a packet|CONNECT|CONTINUE|CLOSE) /);
        return;
      }
      good++;
      const { stream } = packet;
      const again =
        packet.type === "connect"
          ? wispConnect(stream, packet.protocol, packet.host, packet.port)
          : packet.type === "data"
            ? wispData(stream, [packet.data])
            : packet.type === "continue"
              ? wispContinue(stream, packet.count)
              : wispClose(stream, packet.reason);
      expect(again).toEqual(bytes);
    }),
    { numRuns: 3000 },
  );
  expect(good).toBeGreaterThan(100);
  expect(bad).toBeGreaterThan(100);
});

test.each([
  ["", "a packet of 0 bytes", undefined],
  ["02010000", "a packet of 4 bytes", undefined],
  ["0501000000", "a packet of type 5", undefined],
  ["0001000000", "a packet of type 0", undefined],
  ["030100000001", "CONTINUE of 6 bytes", undefined],
  ["03010000000102030405", "CONTINUE of 10 bytes", undefined],
  ["0401000000", "CLOSE of 5 bytes", undefined],
  ["04010000000203", "CLOSE of 7 bytes", undefined],
  ["0101000000015000", "CONNECT to nowhere", 1],
  ["010200000003500061", "CONNECT of a stream of type 3", 2],
  ["010300000001000061", "CONNECT to port 0", 3],
  ["01040000000150006120", "CONNECT to what is no name", 4],
  ["010500000001500000", "CONNECT to what is no name", 5],
  ["0106000000015000ff", "CONNECT to what is no name", 6],
  [`0107000000015000${"61".repeat(256)}`, "CONNECT to what is no name", 7],
])("%s is malformed: %s", (hex, why, stream) => {
  expect(parseWisp(Uint8Array.from(Buffer.from(hex, "hex")))).toEqual({ type: "malformed", why, stream });
});
