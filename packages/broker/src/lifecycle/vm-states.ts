/**
 * The life of a VM as a state machine, written as data: what a VM can be, what can be asked of it then, and what it is
 * afterwards. A pair that the table lacks is refused, by name, and changes nothing.
 *
 * ```
 *            start            begun            pause
 *   off ----------> starting -------> running -------> paused
 *   crashed             |               | ^--- resume ---'|
 *      ^                | stop          | stop, shutdown  | stop
 *      |                v               v                 |
 *      '---------- stopping <-----------+-----------------'
 *        ended, broke, refused
 * ```
 *
 * - The thread that runs the VM owns its state (`vm-life.ts`); the daemon shows what that thread said last, and owns
 *   `off`, `crashed` and the time until the thread has been asked.
 * - Commands of one VM take effect one after another, in the order of their coming. Two do not wait: `stop`, which ends
 *   what is under way, so that what waits is refused, and `backup`.
 * - A command that fails leaves the state as it was.
 * - `pause`, `snapshot` and `clone` wait for requests that the guest's devices have in hand, for a limited time, and fail
 *   with the device's name after it.
 * - `snapshot` and `clone` let the guest stand still while they last, for themselves. That is not `paused`, which a user has asked for, and which a VM stays in until he takes it back.
 * - `backup` copies a disk as it is when it is asked for, while the guest and its writes go on. It takes as long as the disk
 *   is large, and changes nothing of the VM; so it waits for no turn, and no other command waits for it: a VM whose backup
 *   takes an hour can be paused, saved and stopped in that hour. `pause`, `reset`, `snapshot` and `clone` do not disturb it.
 *   What closes the disk below it breaks it off: the guest's end, and `restore` where the disk is made anew from the
 *   snapshot. Then it fails, and leaves no image of its name.
 * - `restore` makes the machine that is to go on from the snapshot beside the one that is there, which stands still and is
 *   given up only when the other is ready to run. A VM that is off is started from the snapshot.
 */

/** States of a VM. */
export const vmStates = ["off", "starting", "running", "paused", "stopping", "crashed"] as const;

/** A state of a VM. `crashed` is `off` after the guest or its thread failed. */
export type VmState = (typeof vmStates)[number];

/** What can be asked of a VM. `clone` is asked of the original; `shutdown` announces that its guest will end. */
export const vmCommands = [
  "start",
  "pause",
  "resume",
  "reset",
  "snapshot",
  "clone",
  "backup",
  "restore",
  "shutdown",
  "stop",
] as const;

export type VmCommand = (typeof vmCommands)[number];

/**
 * What happens to a VM: its start has succeeded (`begun`) or not (`refused`), its run is over (`ended`), or can't go on
 * (`broke`).
 */
export const vmHappenings = ["begun", "refused", "ended", "broke"] as const;

export type VmHappening = (typeof vmHappenings)[number];

/** Where each state leads. */
export const vmTransitions: {
  readonly [State in VmState]: { readonly [Event in VmCommand | VmHappening]?: VmState };
} = {
  off: { start: "starting", restore: "starting" },
  crashed: { start: "starting", restore: "starting" },
  starting: { begun: "running", stop: "stopping", refused: "off", ended: "off", broke: "crashed" },
  running: {
    pause: "paused",
    reset: "running",
    snapshot: "running",
    clone: "running",
    backup: "running",
    restore: "running",
    shutdown: "stopping",
    stop: "stopping",
    ended: "off",
    broke: "crashed",
  },
  paused: {
    resume: "running",
    snapshot: "paused",
    clone: "paused",
    backup: "paused",
    restore: "running",
    stop: "stopping",
    ended: "off",
    broke: "crashed",
  },
  stopping: { stop: "stopping", refused: "off", ended: "off", broke: "crashed" },
};

/** The state after a command or a happening; undefined where it is not allowed. */
export const nextVmState = (state: VmState, event: VmCommand | VmHappening): VmState | undefined =>
  vmTransitions[state][event];
