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
