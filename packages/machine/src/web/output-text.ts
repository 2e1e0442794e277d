/** What a machine prints, as text in which its owner waits for something. */
import { PageMachineError } from "./errors.js";

/** Characters that are kept of what nobody waited for: the last ones. */
const MOST_KEPT = 262_144;
/** Characters of the output's end in a message. */
const SHOWN = 80;

interface Waiter {
  /** Length of the text up to the end of what is waited for; undefined if it is not there. */
  find(text: string): number | undefined;
  readonly what: string;
  resolve(text: string): void;
  reject(error: PageMachineError): void;
}

/** Text from the end of what was last waited for on. Who waits is served in turn. */
export class OutputText {
  private text = "";
  private readonly decoder = new TextDecoder();
  private readonly waiters: Waiter[] = [];

  add(bytes: Uint8Array): void {
    this.text += this.decoder.decode(bytes, { stream: true });
    this.serve();
    if (this.text.length > MOST_KEPT) this.text = this.text.slice(-MOST_KEPT);
  }

  /** The text to the end of `what`, as soon as it is there. @throws PageMachineError `E_TIMEOUT` (the promise rejects) */
  waitFor(what: string | RegExp, timeoutMs: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        const at = this.waiters.indexOf(waiter);
        if (at >= 0) this.waiters.splice(at, 1);
      };
      const waiter: Waiter = {
        find: finder(what),
        what: String(what),
        resolve(text) {
          leave();
          resolve(text);
        },
        reject(error) {
          leave();
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        const end = JSON.stringify(this.text.slice(-SHOWN));
        waiter.reject(
          new PageMachineError(
            "E_TIMEOUT",
            `${waiter.what} was not printed within ${timeoutMs / 1000} s; the output ends with ${end}`,
          ),
        );
        // It was in the way of those behind it.
        this.serve();
      }, timeoutMs);
      this.waiters.push(waiter);
      this.serve();
    });
  }

  /** Nothing more is printed: whoever waits does so in vain. */
  end(why: (what: string) => PageMachineError): void {
    for (const waiter of [...this.waiters]) waiter.reject(why(waiter.what));
  }

  private serve(): void {
    for (let [first] = this.waiters; first !== undefined; [first] = this.waiters) {
      const length = first.find(this.text);
      if (length === undefined) return;
      const text = this.text.slice(0, length);
      this.text = this.text.slice(length);
      first.resolve(text);
    }
  }
}

function finder(what: string | RegExp): Waiter["find"] {
  if (typeof what === "string") {
    return (text) => {
      const at = text.indexOf(what);
      return at < 0 ? undefined : at + what.length;
    };
  }
  // Flags that make an expression remember where it was would have it miss what is there.
  const expression = new RegExp(what.source, what.flags.replace(/[gy]/g, ""));
  return (text) => {
    const match = expression.exec(text);
    return match === null ? undefined : match.index + match[0].length;
  };
}
