import { expect, test } from "vitest";
import { VmGeneration } from "./vm-generation.js";

const ID = Uint8Array.from({ length: 16 }, (_, index) => 0xf0 + index);

/** A device with its line's levels. */
function device(): { generation: VmGeneration; level: () => boolean } {
  let up = false;
  const generation = new VmGeneration({
    set: (level) => {
      up = level;
    },
  });
  return { generation, level: () => up };
}

test("a renewal raises the interrupt until the guest looks at the identifier", () => {
  const { generation, level } = device();
  generation.begin(new Uint8Array(16));
  expect(level()).toBe(false);
  generation.renew(ID);
  expect(level()).toBe(true);
  generation.read(0xffc, 4);
  expect(level()).toBe(true);
  expect(generation.read(4, 4)).toBe(0xf7f6f5f4);
  expect(level()).toBe(false);
  expect([generation.read(14, 2), generation.read(15, 1), generation.read(0, 1)]).toEqual([
    0xfffe, 0xff, 0xf0,
  ]);
});

test("the guest can't change the identifier, and a reset leaves it", () => {
  const { generation, level } = device();
  generation.renew(ID);
  generation.write();
  generation.reset();
  expect(level()).toBe(false);
  expect(generation.read(0, 4)).toBe(0xf3f2f1f0);
});

test("its state goes with the machine, with a renewal that nobody has seen", () => {
  const { generation } = device();
  generation.renew(ID);
  const twin = device();
  twin.generation.restore(generation.save());
  expect(twin.level()).toBe(true);
  expect(twin.generation.save()).toEqual({ id: ID, pending: true });
  for (const wrong of [{ id: ID }, { id: ID.subarray(1), pending: true }, { id: 7, pending: false }])
    expect(() => twin.generation.restore(wrong)).toThrow(expect.objectContaining({ code: "E_DEVICE_STATE" }));
  expect(twin.generation.save()).toEqual({ id: ID, pending: true });
});
