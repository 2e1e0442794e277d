/** Answers that are made part by part. */
import type { ServerResponse } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, it } from "vitest";
import { sendParts } from "./answers.js";

it("let others have their turn while a client reads as fast as parts are made", async () => {
  const written: string[] = [];
  const response = {
    destroyed: false,
    socket: null,
    writeHead() {},
    write: (part: string) => written.push(part) > 0,
    end: () => written.push("end"),
  };
  function* parts() {
    for (let number = 0; number < 20; number++) {
      const end = performance.now() + 4;
      while (performance.now() < end);
      yield String(number);
    }
  }
  const sent = sendParts(response as unknown as ServerResponse, parts(), "text/plain");
  let turns = 0;
  while (written.at(-1) !== "end") {
    await nextTurn();
    turns++;
  }
  await sent;
  expect(written).toHaveLength(21);
  expect(turns).toBeGreaterThanOrEqual(4);
});

it("make one of many long answers in a turn, so that a short one does not wait for all of them", async () => {
  let [made, ended, mostInATurn] = [0, 0, 0];
  const answers = Array.from({ length: 30 }, () => {
    const response = {
      destroyed: false,
      socket: null,
      writeHead() {},
      write: () => true,
      end: () => ended++,
    };
    function* parts() {
      for (let number = 0; number < 5; number++) {
        const end = performance.now() + 6;
        while (performance.now() < end);
        made++;
        yield "part";
      }
    }
    return sendParts(response as unknown as ServerResponse, parts(), "text/plain");
  });
  while (ended < answers.length) {
    const before = made;
    await nextTurn();
    mostInATurn = Math.max(mostInATurn, made - before);
  }
  await Promise.all(answers);
  expect(made).toBe(150);
  // Two parts fill a turn; this loop's own immediate may stand on either side of it.
  expect(mostInATurn).toBeLessThanOrEqual(4);
});
