// Takes the state folder that it is told, says what came of it, and holds it until it is killed.
import { StateLock } from "../dist/node.js";

const lock = await StateLock.take(process.argv[2], `/nowhere/${process.pid}.sock`);
console.log(lock instanceof StateLock ? "holds" : `held by ${lock.pid}`);
if (lock instanceof StateLock) setInterval(() => {}, 1e6);
