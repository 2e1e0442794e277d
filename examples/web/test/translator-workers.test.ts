/** How the page deals with its workers: newest text first, and no end of patience with one that hangs. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { TranslateAnswer, TranslateRequest } from "../src/translator/protocol.js";
import { RunnerWorker, TranslatorWorker } from "../src/translator/workers.js";

/** A worker that does nothing by itself. */
class IdleWorker {
  static readonly made: IdleWorker[] = [];
  readonly sent: unknown[] = [];
  isTerminated = false;
  onmessage: (event: { data: unknown }) => void = () => {};
  onerror: (event: { message: string }) => void = () => {};

  constructor() {
    IdleWorker.made.push(this);
  }

  postMessage(message: unknown): void {
    this.sent.push(message);
  }

  terminate(): void {
    this.isTerminated = true;
  }

  answer(problem: string): void {
    const { id } = this.sent.at(-1) as TranslateRequest;
    this.onmessage({ data: { kind: "mistake", id, line: 1, problem } });
  }
}

const problems: (string | undefined)[] = [];
const note = (answer: TranslateAnswer) =>
  problems.push(answer.kind === "mistake" ? answer.problem : undefined);

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("Worker", IdleWorker);
  IdleWorker.made.length = 0;
  problems.length = 0;
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("the translating worker", () => {
  it("gets one text at a time, and of those that came meanwhile the newest only", () => {
    const translator = new TranslatorWorker(note);
    for (const source of ["one", "two", "three"]) translator.translate("rv64", source, undefined);
    const [worker] = IdleWorker.made;
    expect(worker!.sent).toMatchObject([{ source: "one" }]);
    worker!.answer("of one");
    expect(worker!.sent).toMatchObject([{ source: "one" }, { source: "three" }]);
    worker!.answer("of three");
    expect(problems).toEqual(["of three"]);
    expect(worker!.sent).toHaveLength(2);
  });

  it("is replaced when it does not answer", () => {
    const translator = new TranslatorWorker(note);
    translator.translate("rv64", "slow", undefined);
    vi.advanceTimersByTime(9_999);
    expect(problems).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(problems).toEqual(["the program was not translated within 10 seconds: make it smaller"]);
    expect(IdleWorker.made[0]!.isTerminated).toBe(true);
    translator.translate("rv64", "quick", undefined);
    IdleWorker.made[1]!.answer("of quick");
    vi.advanceTimersByTime(60_000);
    expect(problems.slice(1)).toEqual(["of quick"]);
  });

  it("is replaced for a newer text, too", () => {
    const translator = new TranslatorWorker(note);
    translator.translate("rv64", "slow", undefined);
    translator.translate("rv64", "quick", undefined);
    vi.advanceTimersByTime(10_000);
    expect(problems).toEqual([]);
    expect(IdleWorker.made[1]!.sent).toMatchObject([{ source: "quick" }]);
    IdleWorker.made[1]!.answer("of quick");
    expect(problems).toEqual(["of quick"]);
  });

  it("says in one line if there is none", () => {
    new TranslatorWorker(note).translate("rv64", "nop", undefined);
    IdleWorker.made[0]!.onerror({ message: "" });
    expect(problems).toEqual([
      "the translator's worker does not run (it could not be loaded): reload the page",
    ]);
  });
});

describe("the running worker", () => {
  it("is not heard of programs that were replaced", () => {
    const states: unknown[] = [];
    const failures: string[] = [];
    const runner = new RunnerWorker(
      (state) => states.push(state.id),
      (problem) => failures.push(problem),
    );
    const image = { isa: "rv64", origin: 0, bytes: new Uint8Array(0), blocks: [] } as const;
    const [worker] = IdleWorker.made;
    for (let load = 0; load < 2; load++) runner.load({ image, breakpoints: [] });
    worker!.onmessage({ data: { kind: "state", id: 1 } });
    worker!.onmessage({ data: { kind: "failure", id: 1, problem: "old" } });
    worker!.onmessage({ data: { kind: "state", id: 2 } });
    worker!.onmessage({ data: { kind: "failure", id: 2, problem: "no memory" } });
    worker!.onerror({ message: "broken" });
    expect(states).toEqual([2]);
    expect(failures).toEqual(["no memory", "the machine's worker does not run (broken): reload the page"]);
  });
});
