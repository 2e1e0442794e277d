/** Program of the daemon's threads: each runs a VM, and its clones. */
import { serveGuests } from "@hyperfile/broker/node";
import { makeGuest, prepareThread } from "./fleet/guest.js";

serveGuests(makeGuest, prepareThread);
