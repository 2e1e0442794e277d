/** Before all tests, where none may be skipped: fetches Debian for those that run it, unless it is there. */
import { prepareDebianGuest } from "../src/debian/index.js";

export async function setup(): Promise<void> {
  if (process.env.HYPERFILE_TEST_NO_SKIP === "1") await prepareDebianGuest();
}
