/** Actions that take turns by name: those of one name one after another, those of different names at once. */
export class NamedTurns {
  /** The last action of each name under which something is to be done; never rejects. */
  private readonly last = new Map<string, Promise<void>>();

  /** Whether something of that name is under way, or waits for its turn. */
  has(name: string): boolean {
    return this.last.has(name);
  }

  /** Does `action` when those of its name before it have ended, however that was. */
  run<Result>(name: string, action: () => Promise<Result>): Promise<Result> {
    const result = (this.last.get(name) ?? Promise.resolve()).then(action);
    const forget = () => {
      if (this.last.get(name) === turn) this.last.delete(name);
    };
    const turn: Promise<void> = result.then(forget, forget);
    this.last.set(name, turn);
    return result;
  }
}
