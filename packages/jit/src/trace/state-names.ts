/** Names of the words of a hart's block in linear memory, for people who read emitted code. */
import type { StateShape } from "@hyperfile/decoder";
import { header, STATE_OFFSET } from "../memory/layout.js";

/** The name of an element of a slot, for instance `a0` for `x[10]`. */
export type SlotName = (slot: string, index: number) => string;

/** Names slots as the IR prints them. */
export const plainSlotName: SlotName = (slot, index) => (index === 0 ? slot : `${slot}${index}`);

/**
 * Finds the name of a byte offset in linear memory.
 * @param hartOffset byte offset of the hart's block
 */
export function stateNames(
  shape: StateShape,
  hartOffset: number,
  slotName: SlotName,
): (offset: number) => string | undefined {
  const names = new Map<number, string>();
  for (const [field, offset] of Object.entries(header)) names.set(hartOffset + offset, field);
  for (const { name, offset, stride, length } of shape.slots.values()) {
    for (let index = 0; index < length; index++) {
      names.set(hartOffset + STATE_OFFSET + offset + index * stride, slotName(name, index));
    }
  }
  return (offset) => names.get(offset);
}
