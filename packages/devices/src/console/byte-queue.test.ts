import fc from "fast-check";
import { expect, test } from "vitest";
import { ByteQueue } from "./byte-queue.js";

test("it behaves as a bounded list, however often it wraps", () => {
  const byte = fc.integer({ min: 0, max: 255 });
  const step = fc.oneof(
    fc.record({ kind: fc.constant("push" as const), bytes: fc.uint8Array({ maxLength: 9 }) }),
    fc.record({ kind: fc.constant("unshift" as const), byte }),
    fc.record({ kind: fc.constant("shift" as const) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new ByteQueue(7);
      let model: number[] = [];
      for (const action of steps) {
        if (action.kind === "push") {
          const taken = queue.push(action.bytes);
          expect(taken).toBe(Math.min(action.bytes.length, 7 - model.length));
          model.push(...action.bytes.subarray(0, taken));
        } else if (action.kind === "unshift") {
          queue.unshift(action.byte);
          model = [action.byte, ...model].slice(0, 7);
        } else expect(queue.shift()).toBe(model.shift());
        expect(queue.length).toBe(model.length);
        expect([...queue.toBytes()]).toEqual(model);
      }
      queue.clear();
      expect(queue.shift()).toBeUndefined();
    }),
  );
});
