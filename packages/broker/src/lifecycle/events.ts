/** What happens in a fleet, as a stream of plain records: for the API's event stream, reports and tests. */

/** One event. */
export interface FleetEvent {
  /** Number, from 1, without gaps. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly kind:
    | "vm.defined"
    | "vm.starting"
    | "vm.running"
    | "vm.paused"
    | "vm.resumed"
    | "vm.stopping"
    | "vm.off"
    | "vm.crashed"
    | "vm.changed"
    | "vm.provisioned"
    | "vm.log"
    | "vm.snapshot"
    | "vm.backup"
    | "vm.restored"
    | "vm.cloned"
    /** Its guest may not reach something; told once for each place, and not for very many. */
    | "vm.refused"
    | "vm.removed"
    | "pool.defined"
    | "pool.changed"
    | "pool.removed"
    | "daemon.failed"
    /** What had vanished from under the daemon is there again. */
    | "daemon.restored"
    /** To one reader, in place of events that it was too slow for. */
    | "events.dropped";
  /** The VM or pool. */
  readonly name: string;
  /** One line more, where there is something to say. */
  readonly message?: string;
}

/** Events that are kept for those who come late, and characters of a message. */
const [KEPT, MOST_MESSAGE] = [1000, 2000];

/** Numbers events, keeps the last ones and tells listeners. */
export class EventLog {
  private readonly kept: FleetEvent[] = [];
  private readonly listeners = new Set<(event: FleetEvent) => void>();
  private next = 1;

  /** @param now milliseconds since 1970 */
  constructor(private readonly now: () => number = Date.now) {}

  /** Something has happened. */
  add(kind: FleetEvent["kind"], name: string, message?: string): void {
    const event = {
      id: this.next++,
      at: this.now(),
      kind,
      name,
      ...(message === undefined ? {} : { message: message.slice(0, MOST_MESSAGE) }),
    };
    this.kept.push(event);
    if (this.kept.length > KEPT) this.kept.shift();
    for (const listener of this.listeners) listener(event);
  }

  /** Number of the last event; 0 before the first. */
  get last(): number {
    return this.next - 1;
  }

  /** Those who listen. */
  get listenerCount(): number {
    return this.listeners.size;
  }

  /** The kept events after a number. */
  since(id: number): FleetEvent[] {
    const first = this.next - this.kept.length;
    return this.kept.slice(Math.max(0, id + 1 - first));
  }

  /** Calls `listener`, which must not throw, for each event from now on; the result ends that. */
  listen(listener: (event: FleetEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
}
