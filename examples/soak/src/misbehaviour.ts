/** Clients that keep no rule: slow, vanishing, malformed. Each does one thing after another until the run is over. */
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { WebSocket } from "ws";
import type { Chance } from "./chance.js";
import type { ClientSurroundings } from "./manners.js";

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A connection to the daemon's socket that nothing reads, unless `hear` is given. */
function open(path: string, hear?: (text: string) => void): Socket {
  const socket = connect(path);
  // What the daemon does to such a client is the daemon's affair.
  socket.on("error", () => {});
  if (hear === undefined) socket.pause();
  else socket.on("data", (bytes) => hear(bytes.toString("latin1")));
  return socket;
}

const upgrade = (path: string) =>
  `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString("base64")}\r\n\r\n`;

/** Misbehaves until the run is over. */
export async function misbehave(surroundings: ClientSurroundings, chance: Chance): Promise<void> {
  const { client, cast, tally, goesOn } = surroundings;
  const all = [...cast.bystanders, ...cast.workers, ...cast.hostile];
  const vm = () => chance.of(all);
  // What is typed at a bystander would be a command of its own.
  const typedAt = () => chance.of([...cast.workers, ...cast.hostile]);
  const actions: Readonly<Record<string, () => Promise<void>>> = {
    async "reads no console"() {
      const socket = open(client.socket);
      socket.write(upgrade(`/v1/vms/${vm()}/console?tail=1000000`));
      await pause(500 + chance.under(5000));
      socket.destroy();
    },
    async "reads no events"() {
      const socket = open(client.socket);
      socket.write("GET /v1/events?since=0 HTTP/1.1\r\nhost: x\r\n\r\n");
      await pause(500 + chance.under(5000));
      socket.destroy();
    },
    async "reads no answers"() {
      const socket = open(client.socket);
      for (let at = 0; at < 200; at++)
        socket.write("GET /v1/history?seconds=3600 HTTP/1.1\r\nhost: x\r\n\r\n");
      await pause(chance.under(3000));
      socket.destroy();
    },
    async "sends half a request"() {
      const socket = open(client.socket);
      socket.write(
        chance.of([
          "GET /v1/vms",
          "POST /v1/up HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{",
          "POST /v1/up HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\n",
        ]),
      );
      await pause(chance.under(4000));
      socket.destroy();
    },
    async "is refused an upgrade and vanishes"() {
      for (let at = 0; at < 20; at++) {
        const socket = open(client.socket);
        socket.write(upgrade(chance.of(["/v1/vms/nobody/console", "/v1/events", "/%ZZ", "//"])));
        socket.once("connect", () => socket.destroy());
      }
    },
    async "sends garbage"() {
      const socket = open(client.socket);
      socket.write(chance.bytes(1 + chance.under(100_000)));
      await pause(chance.under(500));
      socket.destroy();
    },
    async "asks for what is not there"() {
      const path = chance.of(["//", "/%ZZ", "/v1/vms/%00", "/v1/vms/__proto__", `/${"a/".repeat(3000)}`]);
      const status = await statusOf(
        client.socket,
        `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
      );
      if (status !== undefined && status >= 500) tally.wrong(`${path.slice(0, 40)} answers ${status}`);
    },
    async "sends a body that is none"() {
      const body = chance.of([
        "{",
        "[]",
        "null",
        '{"settings":["toString="]}',
        `{"text":"${"a: *a ".repeat(1000)}"}`,
      ]);
      const [method, path] = chance.of([
        ["POST", "/v1/up"],
        ["PATCH", `/v1/vms/${vm()}`],
        ["POST", `/v1/vms/${vm()}/exec`],
        ["POST", `/v1/vms/${vm()}/clone`],
      ] as const);
      const status = await statusOf(
        client.socket,
        `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
      );
      if (status !== undefined && status >= 500 && status !== 504)
        tally.wrong(`${method} ${path} answers ${status}`);
    },
    async "types without end"() {
      const socket = new WebSocket(`ws+unix:${client.socket}:/v1/vms/${typedAt()}/console`);
      socket.on("error", () => {});
      const until = performance.now() + chance.under(3000);
      while (performance.now() < until) {
        if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < 2 ** 20)
          socket.send(randomBytes(65_536));
        else await pause(10);
        await new Promise((resolve) => setImmediate(resolve));
      }
      socket.terminate();
    },
    async "says what no console understands"() {
      const socket = new WebSocket(`ws+unix:${client.socket}:/v1/vms/${typedAt()}/console`);
      socket.on("error", () => {});
      socket.on("open", () => {
        socket.send(chance.of(["{", '{"columns":1e9,"rows":-1}', "null", "[]", "x".repeat(100_000)]));
        socket.ping(randomBytes(100));
        // A message that has a beginning and no end.
        socket.send(randomBytes(1000), { fin: false });
      });
      await pause(chance.under(1000));
      socket.terminate();
    },
  };
  const names = Object.keys(actions);
  while (goesOn()) {
    const name = chance.of(names);
    await actions[name]!();
    tally.count(`a client ${name}`);
    await pause(chance.under(300));
  }
}

/** The status that a request written by hand is answered with; undefined if the connection ends without one. */
async function statusOf(path: string, text: string): Promise<number | undefined> {
  let answer = "";
  const socket = open(path, (part) => {
    answer += part;
  });
  socket.write(text);
  await Promise.race([new Promise((resolve) => socket.once("close", resolve)), pause(30_000)]);
  socket.destroy();
  const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1];
  return status === undefined ? undefined : Number(status);
}
