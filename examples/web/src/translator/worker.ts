/** The page's worker: it translates what was typed, or runs it. The page starts it twice, once for each. */

import { SourceMistake } from "./assembly.js";
import type { WorkerAnswer, WorkerRequest } from "./protocol.js";
import { Session } from "./session.js";
import { translate } from "./translation.js";

const answer = (message: WorkerAnswer): void => postMessage(message);
const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

let session: Session | undefined;
/** Turns come by messages, not by timers, which browsers delay; commands come in between. */
const turns = new MessageChannel();
let isTurnAsked = false;
const askForTurn = (): void => {
  if (isTurnAsked || session?.isRunning !== true) return;
  isTurnAsked = true;
  turns.port2.postMessage(undefined);
};
turns.port1.onmessage = () => {
  isTurnAsked = false;
  const current = session;
  if (current?.isRunning !== true) return;
  try {
    current.turn();
  } catch (error) {
    current.fail(textOf(error));
  }
  askForTurn();
};

addEventListener("message", ({ data }: MessageEvent<WorkerRequest>) => {
  if (data.kind === "translate") {
    const { id, isa, source, block } = data;
    try {
      answer({ kind: "translated", id, translation: translate(isa, source, block) });
    } catch (error) {
      const line = error instanceof SourceMistake ? error.line : undefined;
      answer({ kind: "mistake", id, line, problem: textOf(error) });
    }
    return;
  }
  try {
    if (data.kind === "load") session = new Session(data, answer);
    else session?.take(data);
  } catch (error) {
    if (data.kind === "load") answer({ kind: "failure", id: data.id, problem: textOf(error) });
    else session?.fail(textOf(error));
  }
  askForTurn();
});
