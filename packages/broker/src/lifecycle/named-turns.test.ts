/** Turns by name: in order, at once for different names, and over however the action ended. */
import { expect, it } from "vitest";
import { NamedTurns } from "./named-turns.js";

it("come one after another for one name, whatever becomes of those before, and at once for others", async () => {
  const turns = new NamedTurns();
  const done: string[] = [];
  let go = () => {};
  const first = turns.run("a", async () => {
    await new Promise<void>((resolve) => (go = resolve));
    done.push("a1");
    throw new Error("a1 has failed");
  });
  const second = turns.run("a", async () => {
    done.push("a2");
    return 2;
  });
  await turns.run("b", async () => {
    done.push("b1");
  });
  expect([done, turns.has("a"), turns.has("c")]).toEqual([["b1"], true, false]);
  go();
  await expect(first).rejects.toThrow("a1 has failed");
  expect(await second).toBe(2);
  expect(done).toEqual(["b1", "a1", "a2"]);
  // Nothing is kept of what is over.
  await expect.poll(() => turns.has("a") || turns.has("b")).toBe(false);
});
