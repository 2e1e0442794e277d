// A machine with a disk: an image that is made on first use, locked while the machine runs, and closed afterwards.
//   node disk.mjs [IMAGE]
import { existsSync } from "node:fs";
import { createQcow2 } from "@hyperfile/devices/disk";
import { NodeFile, openImage } from "@hyperfile/devices/node";
import { riscvVirt } from "@hyperfile/machine";
import { counter } from "./guest.mjs";

try {
  const [path = "boots.qcow2"] = process.argv.slice(2);
  if (!existsSync(path)) {
    const file = await NodeFile.open(path, { create: true });
    await createQcow2(file, { size: 64 << 20 });
    await file.close();
  }
  const image = await openImage(path, { format: "qcow2", isWritable: true });
  const machine = riscvVirt({
    ramBytes: 1 << 20,
    boot: { code: counter },
    console: { write: (bytes) => process.stdout.write(bytes) },
    drives: [{ disk: image.disk, serial: "boots" }],
  });
  await machine.run();
  machine.free();
  await image.close();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
