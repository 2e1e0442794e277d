// Takes the state folder that it is told, says what came of it, and holds it until it is killed. Without a folder it races:
// for each line `FOLDER TIME` it takes that folder at that time, and gives it back at the line `free`.
import { createInterface } from "node:readline";
import { StateLock } from "../dist/node.js";

const [, , folder] = process.argv;
const take = (place) => StateLock.take(place, `/nowhere/${process.pid}.sock`);
const say = (lock) => console.log(lock instanceof StateLock ? "holds" : `held by ${lock.pid}`);
if (folder !== undefined) {
  const lock = await take(folder);
  say(lock);
  if (lock instanceof StateLock) setInterval(() => {}, 1e6);
} else {
  let lock;
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "free") {
      if (lock instanceof StateLock) lock.release();
      continue;
    }
    const [place, time] = line.split(" ");
    while (Date.now() < Number(time));
    lock = await take(place);
    say(lock);
  }
}
