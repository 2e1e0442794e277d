/** Program of the daemon's thread that leads pages out. */
import { serveWeb } from "./fleet/web/web-server.js";

serveWeb();
