// Takes and releases the locks of images as standard input says, a line each, and says what came of it.
// `take IMAGE TIME` waits until TIME (milliseconds since 1970), so that several processes take at once.
import { createInterface } from "node:readline";
import { ImageLock } from "@hyperfile/devices/node";

let lock;
for await (const line of createInterface({ input: process.stdin })) {
  const [order, image, time] = line.split("\t");
  if (order === "take") {
    while (Date.now() < Number(time));
    try {
      lock = ImageLock.take(image);
      console.log("holds");
    } catch (error) {
      console.log(error.code ?? error.message);
    }
  } else {
    lock?.release();
    lock = undefined;
    console.log("released");
  }
}
