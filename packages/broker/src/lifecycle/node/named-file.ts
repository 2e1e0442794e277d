/**
 * Whether files are there that somebody names. A file system whose server has gone does not answer, and keeps whoever asks
 * it: the daemon's own thread, or one of the few that Node has for files. So a look is no wait of the daemon's, it has an
 * end, and no further one begins while several are without an answer.
 */
import { access } from "node:fs/promises";
import { LifecycleError } from "../errors.js";
import { settlesWithin } from "../waiting.js";

/** Milliseconds for a file system to answer. */
const ANSWER_MS = 10_000;
/** Looks that may be without an answer: half of the threads that Node has for files. */
const MOST_SILENT = 2;

/** Looks at files. */
export class NamedFiles {
  private silent = 0;

  /**
   * @param look resolves if there is something by that name
   * @param answerMs milliseconds for that
   */
  constructor(
    private readonly look: (path: string) => Promise<unknown> = access,
    private readonly answerMs = ANSWER_MS,
  ) {}

  /**
   * Whether there is something by that name.
   * @throws LifecycleError (the promise rejects) `E_FILES` if nothing answers
   */
  async has(path: string): Promise<boolean> {
    if (this.silent < MOST_SILENT) {
      const looking = this.look(path).then(
        () => true,
        () => false,
      );
      if (await settlesWithin(looking, this.answerMs)) return looking;
      this.silent++;
      void looking.then(() => this.silent--);
    }
    throw new LifecycleError(
      "E_FILES",
      `${path}: can't see whether it is there, since a file system does not answer: name files of others, or try again when its server is back`,
    );
  }
}
