/** Projects: what a Hyperfile that is up is called. */
import { ROOT_POOL } from "./types.js";

/** The name of a Hyperfile that has none: the last part of its folder's path, in the letters that names have. */
export function projectNameOf(folder: string): string {
  const last = folder.split(/[\\/]/).findLast((part) => part !== "") ?? "";
  const name = last
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 63);
  return name === "" || name === ROOT_POOL ? "project" : name;
}
