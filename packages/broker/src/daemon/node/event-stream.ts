/**
 * Events as they happen, for one client (server-sent events, WHATWG HTML 9.2). The stream is a place in the event log
 * and no queue: a client that reads slowly is sent what the log still keeps when it has room, and one line says how many
 * events it has missed.
 */
import type { ServerResponse } from "node:http";
import type { EventLog, FleetEvent } from "../../lifecycle/events.js";

/**
 * Streams events until the client goes.
 * @param since number of the event that the client had last; 0 for all that are kept, without a word on those before
 */
export function streamEvents(response: ServerResponse, events: EventLog, since: number): void {
  let last = Math.min(since, events.last);
  let hasRoom = true;
  const write = (event: FleetEvent) => {
    hasRoom = response.write(`id: ${event.id}\ndata: ${JSON.stringify(event)}\n\n`);
  };
  const go = () => {
    for (const event of hasRoom ? events.since(last) : []) {
      const missed = event.id - last - 1;
      if (missed > 0 && last > 0) write(droppedEvent(event, missed));
      last = event.id;
      write(event);
      if (!hasRoom) return;
    }
  };
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write(": hyperfile events\n\n");
  response.on("drain", () => {
    hasRoom = true;
    go();
  });
  response.on("close", events.listen(go));
  go();
}

const droppedEvent = ({ id, at }: FleetEvent, missed: number): FleetEvent => ({
  id: id - 1,
  at,
  kind: "events.dropped",
  name: "events",
  message: `${missed} events were dropped: this client reads them too slowly`,
});
