/** Program of the daemon's thread that has the networks of VMs. */
import { serveNetworks } from "./fleet/networks/network-server.js";

serveNetworks();
