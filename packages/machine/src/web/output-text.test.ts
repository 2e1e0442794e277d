/** Waiting for output: what is found, what is left, and what is said when it does not come. */
import { describe, expect, it } from "vitest";
import { PageMachineError } from "./errors.js";
import { OutputText } from "./output-text.js";

const encoder = new TextEncoder();
const SECOND = 1000;

describe("output that is waited for", () => {
  it("is found in what came before and comes later, once, in the order in which it is asked for", async () => {
    const output = new OutputText();
    output.add(encoder.encode("boot\n$ "));
    expect(await output.waitFor("$ ", SECOND)).toBe("boot\n$ ");
    const answers = Promise.all([output.waitFor(/\d+ files/g, SECOND), output.waitFor("$ ", SECOND)]);
    output.add(encoder.encode("ls\n1"));
    output.add(encoder.encode("2 files\n$ rest"));
    expect(await answers).toEqual(["ls\n12 files", "\n$ "]);
    expect(await output.waitFor("rest", SECOND)).toBe("rest");
  });

  it("has characters that came in pieces whole", async () => {
    const output = new OutputText();
    for (const byte of encoder.encode("é→𝄞")) output.add(Uint8Array.of(byte));
    expect(await output.waitFor("𝄞", SECOND)).toBe("é→𝄞");
  });

  it("is not there in time: the message has the end of the output, and the next who waits finds it", async () => {
    const output = new OutputText();
    output.add(encoder.encode("login: "));
    const late = output.waitFor(/never/, 10);
    const next = output.waitFor("login: ", SECOND);
    await expect(late).rejects.toThrow(
      new PageMachineError(
        "E_TIMEOUT",
        '/never/ was not printed within 0.01 s; the output ends with "login: "',
      ),
    );
    expect(await next).toBe("login: ");
  });

  it("is bounded, and ends for all who wait", async () => {
    const output = new OutputText();
    output.add(encoder.encode("first"));
    output.add(new Uint8Array(262_144).fill(97));
    const answers = ["first", "second"].map((what) => output.waitFor(what, SECOND));
    output.end((what) => new PageMachineError("E_STATE", `no ${what}`));
    for (const [at, what] of ["first", "second"].entries())
      await expect(answers[at]).rejects.toThrow(`no ${what}`);
  });
});
