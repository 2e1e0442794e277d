/** Where a user's daemon has its files, as the environment says. */
import { homedir } from "node:os";
import { join } from "node:path";

/** Variables of the environment that say where things are. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Folder for logs, snapshots and projects: `HYPERFILE_STATE`, else the user's folder for state (XDG). */
export function stateFolder(environment: Environment): string {
  const { HYPERFILE_STATE, XDG_STATE_HOME } = environment;
  return HYPERFILE_STATE ?? join(XDG_STATE_HOME ?? join(homedir(), ".local", "state"), "hyperfile");
}

/** The daemon's socket: `HYPERFILE_SOCKET`, else in the user's runtime folder, else beside the state. */
export function socketPath(environment: Environment): string {
  const { HYPERFILE_SOCKET, HYPERFILE_STATE, XDG_RUNTIME_DIR } = environment;
  if (HYPERFILE_SOCKET !== undefined) return HYPERFILE_SOCKET;
  if (HYPERFILE_STATE !== undefined || XDG_RUNTIME_DIR === undefined)
    return join(stateFolder(environment), "daemon.sock");
  return join(XDG_RUNTIME_DIR, "hyperfile", "daemon.sock");
}
