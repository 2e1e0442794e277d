// Takes and releases the locks of images as standard input says, a line each, and says what came of it.
//
// `take IMAGE USE TIME` waits until TIME (milliseconds since 1970), so that several processes take at once; `release` gives
// it back. After `die N` this process kills itself in place of the Nth call that makes, lists or removes files.
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { createInterface } from "node:readline";
import { ImageLock } from "@hyperfile/devices/node";

let left = Infinity;
for (const name of ["openSync", "readdirSync", "rmSync"]) {
  const real = fs[name];
  fs[name] = (path, ...rest) => {
    // Nothing runs after this: the signal is there before the call returns.
    if (!String(path).startsWith("/proc/") && --left === 0) process.kill(process.pid, "SIGKILL");
    return real(path, ...rest);
  };
}
syncBuiltinESMExports();

let lock;
for await (const line of createInterface({ input: process.stdin })) {
  const [order, first, use, time] = line.split("\t");
  if (order === "die") {
    left = Number(first);
    console.log("dies");
  } else if (order === "take") {
    while (Date.now() < Number(time));
    try {
      lock = await ImageLock.take(first, use);
      console.log("holds");
    } catch (error) {
      console.log(error.code === "E_IMAGE_LOCKED" ? error.code : error.message);
    }
  } else {
    lock?.release();
    lock = undefined;
    console.log("released");
  }
}
