/** The mistakes of a Hyperfile as lines, whoever found them: this program or the daemon. */
import { type HyperfileProblem, problemLine } from "@hyperfile/broker/client";

/** One line for each. */
export const problemLines = (problems: readonly unknown[]): string[] =>
  problems.map((problem) =>
    typeof problem === "string" ? problem : problemLine(problem as HyperfileProblem),
  );
