// What a run in continuous integration prints: how far it is, each failure whole, which tests needed a second try, and last
// the line with the counts. Tests that pass at once are counted only, so that the failures are not lost among thousands.

import { relative } from "node:path";

/** Modules between two lines of progress. */
const EVERY = 25;

const fileOf = ({ moduleId }) => relative(process.cwd(), moduleId);
/** A test's place: its file and its names. */
const placeOf = ({ module, fullName }) => `${fileOf(module)} > ${fullName}`;

/** What went wrong, with where; without the runner's own lines of the stack. */
const textOf = ({ message, diff, stack = "" }) => {
  const places = stack.split("\n").filter((line) => /^\s+at /.test(line) && !line.includes("node_modules"));
  return [message, ...(diff ? [diff] : []), ...places.slice(0, 8)].join("\n");
};

/** Counts the tests of a run, and prints. */
export default class Report {
  counts = { passed: 0, failed: 0, skipped: 0 };
  failures = [];
  again = [];
  modules = { all: 0, done: 0 };
  started = Date.now();

  onTestRunStart(specifications) {
    this.modules.all = specifications.length;
  }

  onTestCaseResult(test) {
    const { state, errors } = test.result();
    this.counts[state]++;
    const { retryCount = 0, duration = 0 } = test.diagnostic() ?? {};
    if (state === "failed") this.fail(`${placeOf(test)} (${Math.round(duration)} ms)`, errors);
    else if (state === "passed" && retryCount > 0) {
      this.again.push(placeOf(test));
      console.log(`AGAIN ${placeOf(test)}\n${(errors ?? []).map(textOf).join("\n")}`);
    }
  }

  onTestModuleEnd(module) {
    if (++this.modules.done % EVERY === 0) {
      const { done, all } = this.modules;
      console.log(
        `${done} of ${all} files after ${Math.round((Date.now() - this.started) / 1000)} s: ${this.line()}`,
      );
    }
    this.failParts(module, fileOf(module));
  }

  onTestRunEnd(_modules, unhandled) {
    for (const error of unhandled) {
      this.counts.failed++;
      this.fail("outside of any test", [error]);
    }
    for (const place of this.again) console.log(`passed at the second try: ${place}`);
    for (const place of this.failures) console.log(`failed: ${place}`);
    console.log(this.line());
  }

  /** Files and suites that failed outside of their tests: while they were loaded, or in a hook. */
  failParts(part, place) {
    const errors = part.errors();
    if (errors.length > 0) {
      this.counts.failed++;
      this.fail(place, errors);
    }
    for (const suite of part.children.suites()) this.failParts(suite, `${place} > ${suite.fullName}`);
  }

  fail(place, errors) {
    this.failures.push(place);
    console.log(`FAIL ${place}\n${errors.map(textOf).join("\n")}`);
  }

  /** The counts; what was skipped only where something was. */
  line() {
    const { passed, failed, skipped } = this.counts;
    return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
  }
}
