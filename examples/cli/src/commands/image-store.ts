/** The part of `hyperfile image` that is about image stores: what is in them, and images into and out of them. */
import { formatSize, parseDuration } from "@hyperfile/broker/host";
import { isAddress } from "@hyperfile/devices/disk";
import { openStore } from "@hyperfile/devices/node";
import { type Command, InvalidArgumentError } from "commander";
import { CliError, errorLine } from "../errors.js";
import { copyImage } from "../new-image.js";

/** What the commands need of the program. */
export interface StoreSurroundings {
  write(text: string): void;
  /** Writes to standard error. */
  error(text: string): void;
  /** Tells a share from 0 to 1 as work goes on. */
  progress(what: string): (share: number) => void;
}

function parseGrace(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === undefined)
    throw new InvalidArgumentError("Give a number and a unit, such as 30m or 1h.");
  return milliseconds;
}

/** Adds the commands. */
export function addStoreCommands(
  image: Command,
  { write, error, progress }: StoreSurroundings,
  finish: (status: number) => void,
): void {
  image
    .command("list")
    .description("list the images of a store")
    .argument("<store>", "folder of the store")
    .action(async (where: string) => {
      const store = openStore(where, { isReadOnly: true });
      let failed = 0;
      for await (const name of store.names()) {
        try {
          const { size, createdAt } = await store.manifest(name);
          write(`${name.padEnd(32)} ${formatSize(size).padStart(8)}  ${createdAt}\n`);
        } catch (cause) {
          failed++;
          error(`${errorLine(cause)}\n`);
        }
      }
      finish(failed > 0 ? 1 : 0);
    });

  image
    .command("clone")
    .description("make an image that has the same bytes as another; what both have is there once")
    .argument("<store>", "folder of the store")
    .argument("<name>", "image to clone")
    .argument("<copy>", "name of the new image")
    .action(async (where: string, name: string, copy: string) => {
      await openStore(where).clone(name, copy);
      finish(0);
    });

  image
    .command("remove")
    .description("remove an image from a store; its room is given back by image collect")
    .argument("<store>", "folder of the store")
    .argument("<name>", "image to remove")
    .action(async (where: string, name: string) => {
      await openStore(where).remove(name);
      finish(0);
    });

  image
    .command("collect")
    .description("give back the room of what no image of a store needs")
    .argument("<store>", "folder of the store")
    .option(
      "--grace <time>",
      "leave what is newer, since a writer may be about to name it",
      parseGrace,
      3_600_000,
    )
    .action(async (where: string, { grace }: { grace: number }) => {
      const { kept, removed, removedBytes } = await openStore(where).collect({ graceMs: grace });
      write(`${removed} objects removed (${formatSize(removedBytes)}), ${kept} kept\n`);
      finish(0);
    });

  image
    .command("push")
    .description("copy an image into a store: the same as image convert --format store")
    .argument("<file>", "image to copy")
    .argument("<store>", "folder of the store")
    .argument("<name>", "name of the new image")
    .action(async (file: string, where: string, name: string) => {
      if (isAddress(where))
        throw new CliError("E_USAGE", `${where}: a web server is only read; give the folder of a store`);
      await copyImage(
        { path: file },
        { store: where, name },
        { format: "store" },
        {
          onProgress: progress("copied"),
        },
      );
      finish(0);
    });

  image
    .command("pull")
    .description("copy an image from another store; only chunks that are not there already are read")
    .argument("<from>", "folder of the other store, or its address: https://...")
    .argument("<name>", "image to copy")
    .argument("<store>", "folder of the store")
    .option("--as <name>", "name of the new image; by default the same")
    .action(async (from: string, name: string, where: string, { as = name }: { as?: string }) => {
      const store = openStore(where);
      try {
        const bytes = await store.pull(openStore(from, { isReadOnly: true }), name, {
          as,
          onProgress: progress("copied"),
        });
        write(`${formatSize(bytes)} copied\n`);
      } finally {
        await store.close();
      }
      finish(0);
    });
}
