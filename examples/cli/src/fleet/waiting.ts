/** Says what a command waits for, where the daemon takes long to answer it: others may be first. */
import type { Activity, DaemonClient } from "@hyperfile/broker/client";

/** Milliseconds until the first look, and between two looks, at what keeps a command. */
const LOOK_MS = 3000;

/** What a command is about: a VM, or a project, whose name may take long to find out. */
export type Subject = { readonly vm: string } | { readonly project: () => Promise<string> };

/**
 * Waits for a request.
 * @param client by which the daemon is asked what keeps it
 * @param tell gets lines for the user, each when what is waited for has changed
 */
export async function telling<Result>(
  client: Pick<DaemonClient, "activities">,
  of: Subject,
  tell: (line: string) => void,
  request: Promise<Result>,
  lookMs = LOOK_MS,
): Promise<Result> {
  const began = Date.now();
  let told: Activity | undefined;
  let isOver = false;
  const look = async () => {
    const keeper = keeperOf(
      await client.activities(),
      "vm" in of ? of : { project: await of.project() },
      began,
    );
    if (isOver || keeper === undefined || (keeper.at === told?.at && keeper.what === told.what)) return;
    told = keeper;
    const where = keeper.vm === undefined ? `project ${keeper.project}` : `VM ${keeper.vm}`;
    const seconds = Math.max(0, Math.round((Date.now() - keeper.at) / 1000));
    tell(`hyperfile: waiting for ${where}: ${keeper.what}, for ${seconds} s so far\n`);
  };
  // The request itself tells what is wrong with the daemon.
  const timer = setInterval(() => void look().catch(() => {}), lookMs);
  try {
    return await request;
  } finally {
    isOver = true;
    clearInterval(timer);
  }
}

/**
 * What keeps a command that began at a time: of one on a VM what others began before it, and provisioning, which may be its
 * own; of one on a project anything that is done with one of its VMs.
 */
function keeperOf(
  all: readonly Activity[],
  of: { readonly vm: string } | { readonly project: string },
  began: number,
): Activity | undefined {
  if ("vm" in of)
    return all.find(({ vm, at, what }) => vm === of.vm && (at < began || what.startsWith("provisioning")));
  const here = all.filter(({ project }) => project === of.project);
  return here.find(({ vm }) => vm !== undefined) ?? here.find(({ at }) => at < began);
}
