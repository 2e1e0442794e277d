/** Pools and VMs by their names. */
import { ResourceError } from "./errors.js";

/** The pool of a name. @throws ResourceError `E_POOL_UNKNOWN` */
export function poolNamed<Pool>(pools: ReadonlyMap<string, Pool>, name: string): Pool {
  const pool = pools.get(name);
  if (pool === undefined) throw new ResourceError("E_POOL_UNKNOWN", `there is no pool ${name}`);
  return pool;
}

/** The VM of a name. @throws ResourceError `E_CLIENT_UNKNOWN` */
export function clientNamed<Client>(clients: ReadonlyMap<string, Client>, name: string): Client {
  const client = clients.get(name);
  if (client === undefined) throw new ResourceError("E_CLIENT_UNKNOWN", `there is no VM ${name}`);
  return client;
}
