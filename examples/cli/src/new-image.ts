/** New images, which are there whole or not at all, whatever ends the program. */
import { existsSync, rmSync } from "node:fs";
import {
  type BlockBackend,
  type CreateQcow2Options,
  copyDisk,
  createQcow2,
  Qcow2Image,
  RawBackend,
} from "@hyperfile/devices/disk";
import {
  type ImageFormat,
  makeFile,
  nodeCodecs,
  openImage,
  openStore,
  storePath,
} from "@hyperfile/devices/node";
import { CliError } from "./errors.js";

/** What a new image is. */
export interface NewImage extends CreateQcow2Options {
  readonly format: ImageFormat;
}

/** Signals that end the program. */
const endingSignals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Where a new image comes: its path, or its name in a store. */
export type ImagePlace = string | { readonly store: string; readonly name: string };

/**
 * Makes an image of what `fill` writes to it.
 * @param atSignals whether a signal that ends the program removes what there is of the image; who handles signals himself
 *   does not want that
 * @throws CliError `E_FILE` if there is one already, DiskError; nothing is left then
 */
export async function makeImage(
  place: ImagePlace,
  { format, ...options }: NewImage,
  fill: (disk: BlockBackend) => Promise<void>,
  atSignals = true,
): Promise<void> {
  if (format === "store" || typeof place !== "string") {
    const { store, name } = typeof place === "string" ? storePath(place) : place;
    const images = openStore(store);
    try {
      await images.make(name, { size: options.size }, fill);
    } finally {
      await images.close();
    }
    return;
  }
  if (existsSync(place))
    throw new CliError("E_FILE", `${place}: can't make the file: the file is there already`);
  let unfinished: string | undefined;
  const onSignal = (signal: NodeJS.Signals) => {
    if (unfinished !== undefined) rmSync(unfinished, { force: true });
    for (const each of endingSignals) process.off(each, onSignal);
    process.kill(process.pid, signal);
  };
  if (atSignals) for (const signal of endingSignals) process.on(signal, onSignal);
  try {
    await makeFile(
      place,
      async (file) => {
        if (format === "raw") await file.truncate(options.size);
        else await createQcow2(file, options);
        const disk =
          format === "raw" ? new RawBackend(file) : await Qcow2Image.open(file, { codecs: nodeCodecs });
        try {
          await fill(disk);
          await disk.flush();
        } finally {
          await disk.close();
        }
      },
      (name) => {
        unfinished = name;
      },
    );
  } finally {
    for (const signal of endingSignals) process.off(signal, onSignal);
  }
}

/** Makes an image of zeros, or of what is below it, as {@link makeImage} does. */
export const makeEmptyImage = (path: string, image: NewImage, atSignals = true): Promise<void> =>
  makeImage(path, image, async () => {}, atSignals);

/**
 * Copies an image, with all that is below it, to a new one.
 * @param from nobody writes it meanwhile
 * @throws CliError, DiskError
 */
export async function copyImage(
  from: { readonly path: string; readonly format?: ImageFormat | undefined },
  to: ImagePlace,
  image: Omit<NewImage, "size">,
  how: { readonly isCompressed?: boolean; readonly onProgress?: (share: number) => void } = {},
): Promise<void> {
  const source = await openImage(from.path, { format: from.format });
  const { onProgress } = how;
  try {
    await makeImage(to, { ...image, size: source.disk.size }, async (disk) => {
      const compressed = how.isCompressed && disk instanceof Qcow2Image ? disk : undefined;
      await copyDisk(source.disk, disk, {
        ...(compressed && { compressed }),
        ...(onProgress && { onProgress }),
      });
    });
  } finally {
    await source.close();
  }
}
