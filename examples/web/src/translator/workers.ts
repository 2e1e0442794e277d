/** The page's two workers: one translates the newest text, the other one runs the program. */
import type {
  IsaName,
  MachineState,
  RunCommand,
  TranslateAnswer,
  TranslateRequest,
  WorkerAnswer,
} from "./protocol.js";

function start(name: string, onError: (problem: string) => void): Worker {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name });
  worker.onerror = ({ message }) =>
    onError(`the ${name}'s worker does not run (${message || "it could not be loaded"}): reload the page`);
  return worker;
}

/** Milliseconds that a translation may take. */
const PATIENCE = 10_000;

/** Translates; of several texts only the newest one is answered. */
export class TranslatorWorker {
  private worker: Worker | undefined;
  private newest: TranslateRequest | undefined;
  /** What the worker was given last. */
  private sent: TranslateRequest | undefined;
  private isBusy = false;
  private next = 1;
  private watchdog: ReturnType<typeof setTimeout> | undefined;

  /** @param onAnswer takes the answer for the newest text */
  constructor(private readonly onAnswer: (answer: TranslateAnswer) => void) {}

  /** Asks for a program's columns. */
  translate(isa: IsaName, source: string, block: string | undefined): void {
    this.newest = { kind: "translate", id: this.next++, isa, source, block };
    if (!this.isBusy) this.send();
  }

  private send(): void {
    this.isBusy = true;
    this.worker ??= this.made();
    this.sent = this.newest;
    this.worker.postMessage(this.sent);
    this.watchdog = setTimeout(() => {
      this.worker?.terminate();
      this.worker = undefined;
      this.fail(`the program was not translated within ${PATIENCE / 1000} seconds: make it smaller`);
    }, PATIENCE);
  }

  private fail(problem: string): void {
    this.take({ kind: "mistake", id: this.sent!.id, line: undefined, problem });
  }

  private made(): Worker {
    const worker = start("translator", (problem) => this.fail(problem));
    worker.onmessage = ({ data }: MessageEvent<TranslateAnswer>) => this.take(data);
    return worker;
  }

  private take(answer: TranslateAnswer): void {
    clearTimeout(this.watchdog);
    this.isBusy = false;
    if (answer.id === this.newest!.id) this.onAnswer(answer);
    else this.send();
  }
}

/** Runs programs. States of a program that was replaced are not told. */
export class RunnerWorker {
  private readonly worker: Worker;
  private id = 0;

  /**
   * @param onState takes what the machine tells of itself
   * @param onProblem takes why there is no machine, in one line
   */
  constructor(onState: (state: MachineState) => void, onProblem: (problem: string) => void) {
    this.worker = start("machine", onProblem);
    this.worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => {
      if (data.id !== this.id) return;
      if (data.kind === "state") onState(data);
      else if (data.kind === "failure") onProblem(data.problem);
    };
  }

  /** Puts a program in place of the one before, ready to run. */
  load(program: Omit<Extract<RunCommand, { kind: "load" }>, "kind" | "id">): void {
    this.id++;
    this.worker.postMessage({ kind: "load", id: this.id, ...program });
  }

  /** Sends another command. */
  tell(command: Exclude<RunCommand, { kind: "load" }>): void {
    this.worker.postMessage(command);
  }
}
