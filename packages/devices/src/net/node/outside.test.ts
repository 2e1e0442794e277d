import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";
import { expect, test } from "vitest";
import { write16 } from "../frames/ip.js";
import { nodeOutside } from "./outside.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const string = (value: Uint8Array): string => new TextDecoder().decode(value);

/** A socket of somebody else on the host. */
function peer(
  answer: (data: Uint8Array) => Uint8Array | undefined,
): Promise<{ port: number; close(): void }> {
  const socket = createSocket("udp4");
  socket.on("message", (data, from) => {
    const reply = answer(data);
    if (reply !== undefined) socket.send(reply, from.port, from.address);
  });
  return new Promise((resolve) =>
    socket.bind(0, "127.0.0.1", () => resolve({ port: socket.address().port, close: () => socket.close() })),
  );
}

test("a datagram reaches somebody, and the answer says who it is from", async () => {
  const echo = await peer((data) => text(`re ${string(data)}`));
  const answer = await new Promise<string>((resolve, reject) => {
    const socket = nodeOutside().openUdp(4, {
      data: (data, address, port) => {
        socket.close();
        resolve(`${address} ${port === echo.port} ${string(data)}`);
      },
      failed: () => reject(new Error("failed")),
    });
    socket.send(text("hello"), "127.0.0.1", echo.port);
  });
  echo.close();
  expect(answer).toBe("127.0.0.1 true re hello");
});

test("a port of the host hears and answers; one that is taken is refused by name", async () => {
  const outside = nodeOutside();
  const listener = await outside.listenUdp("127.0.0.1", 0, (data, from, port) =>
    listener.answer(text(`re ${string(data)}`), from, port),
  );
  expect(listener.port).toBeGreaterThan(0);
  await expect(outside.listenUdp("127.0.0.1", listener.port, () => {})).rejects.toThrow(
    `port ${listener.port} of 127.0.0.1 is taken: choose another one, or 0 for any`,
  );
  await expect(outside.listenUdp("192.0.2.77", 0, () => {})).rejects.toMatchObject({
    code: "E_NETWORK_HOST",
  });
  const answer = await new Promise<string>((resolve) => {
    const socket = outside.openUdp(4, {
      data: (data) => {
        socket.close();
        resolve(string(data));
      },
      failed: () => {},
    });
    socket.send(text("hello"), "127.0.0.1", listener.port);
  });
  listener.close();
  expect(answer).toBe("re hello");
});

test("a connection carries bytes both ways, and each end by itself; a port where nobody listens refuses", async () => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const parts: Buffer[] = [];
    socket.on("data", (data: Buffer) => parts.push(data));
    socket.on("end", () => socket.end(`got ${Buffer.concat(parts).length}`));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const outside = nodeOutside();
  const connected = (to: number): Promise<string[]> =>
    new Promise((resolve) => {
      const events: string[] = [];
      const connection = outside.connectTcp("127.0.0.1", to, {
        opened: () => {
          events.push("opened");
          connection.write(new Uint8Array(300_000));
          connection.end();
        },
        failed: (why) => resolve([...events, why]),
        data: (data) => events.push(string(data)),
        ended: () => events.push("ended"),
        drained: () => {},
        closed: (isBroken) => resolve([...events, isBroken ? "broken" : "closed"]),
      });
    });
  expect(await connected(port)).toEqual(["opened", "got 300000", "ended", "closed"]);
  server.close();
  expect(await connected(port)).toEqual(["refused"]);
});

const question = Uint8Array.of(7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1);
/** An answer to it, with a mark at its end. */
function reply(asked: Uint8Array, mark: number, flags = 0x8180): Uint8Array {
  const bytes = Uint8Array.of(...asked, mark);
  write16(bytes, 2, flags);
  return bytes;
}

test("a question is asked under a number of its own, and forged answers are passed over", async () => {
  const numbers: number[] = [];
  const server = createSocket("udp4");
  server.on("message", (asked, from) => {
    numbers.push((asked[0]! << 8) | asked[1]!);
    const forged = reply(asked, 1);
    write16(forged, 0, numbers.at(-1)! ^ 1);
    for (const each of [forged, asked, Uint8Array.of(1), reply(asked, 2)])
      server.send(each, from.port, from.address);
  });
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
  const outside = nodeOutside({ nameServers: [`127.0.0.1:${server.address().port}`] });
  const answers = await Promise.all(Array.from({ length: 8 }, () => outside.query(question)));
  server.close();
  expect(answers.map((answer) => answer?.at(-1))).toEqual(Array(8).fill(2));
  expect(new Set(numbers).size).toBeGreaterThan(5);
});

test("what does not fit a datagram is asked for by TCP, and a server that is not there is passed over", async () => {
  const tcp = createServer((socket) => {
    socket.on("data", (data) => {
      const answer = reply(data.subarray(2), 3);
      const framed = new Uint8Array(answer.length + 2);
      write16(framed, 0, answer.length);
      framed.set(answer, 2);
      socket.write(framed.subarray(0, 5));
      setImmediate(() => socket.end(framed.subarray(5)));
    });
  });
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
  const { port } = tcp.address() as { port: number };
  const udp = createSocket("udp4");
  udp.on("message", (asked, from) => udp.send(reply(asked, 1, 0x8380), from.port, from.address));
  await new Promise<void>((resolve) => udp.bind(port, "127.0.0.1", resolve));
  // Nobody listens at the port of a socket that is closed.
  const gone = await peer(() => undefined);
  gone.close();
  const outside = nodeOutside({ nameServers: [`127.0.0.1:${gone.port}`, `127.0.0.1:${port}`] });
  const answer = await outside.query(question);
  udp.close();
  tcp.close();
  expect(answer?.at(-1)).toBe(3);
  expect(await nodeOutside({ nameServers: [] }).query(question)).toBeUndefined();
});

test("the host's addresses are ranges, its loopback among them", () => {
  expect(nodeOutside().hostRanges()).toContain("127.0.0.1/8");
});

test("a port of the host is connected to, read when whoever takes it wants that, and broken off if nobody does", async () => {
  const outside = nodeOutside();
  const events: string[] = [];
  let isTaking = true;
  const listener = await outside.listenTcp("127.0.0.1", 0, (caller) => {
    events.push(`${caller.address} ${caller.port > 0}`);
    if (!isTaking) return;
    const connection = caller.take({
      data: (data) => events.push(string(data)),
      ended: () => {
        events.push("ended");
        connection.write(text("answer"));
        connection.end();
      },
      drained: () => {},
      closed: (isBroken) => events.push(isBroken ? "broken" : "closed"),
    });
    setTimeout(() => {
      events.push("read");
      connection.setReading(true);
    }, 50);
  });
  await expect(outside.listenTcp("127.0.0.1", listener.port, () => {})).rejects.toMatchObject({
    code: "E_NETWORK_IN_USE",
    message: `port ${listener.port} of 127.0.0.1 is taken: choose another one, or 0 for any`,
  });
  const call = () =>
    new Promise<string>((resolve) => {
      let answer = "";
      const socket = connect(listener.port, "127.0.0.1", () => socket.end("question"));
      socket.on("data", (data) => (answer += data));
      socket.on("error", (error: NodeJS.ErrnoException) => (answer += error.code));
      socket.on("close", () => resolve(answer));
    });
  expect(await call()).toBe("answer");
  expect(events).toEqual(["127.0.0.1 true", "read", "question", "ended", "closed"]);
  isTaking = false;
  expect(await call()).toBe("ECONNRESET");
  listener.close();
  expect(await call()).toBe("ECONNREFUSED");
});
