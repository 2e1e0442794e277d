/**
 * The network of `--net`: a network of the machine's own, behind a gateway that leads out through the host's sockets, taken
 * down however the run ends.
 */
import { NetworkError, type Policy, parseMac, policyOf, Switch, UserNetwork } from "@hyperfile/devices/net";
import { nodeOutside } from "@hyperfile/devices/node";
import type { Nic } from "@hyperfile/machine";
import { CliError } from "./errors.js";
import type { NetFlags, NetRule } from "./net-flags.js";
import { printableLine } from "./printable.js";

const USUAL_MAC = "52:54:00:12:34:56";
/** The address that the one guest gets, as QEMU's does; forwards lead there. */
const GUEST = "10.0.2.15";
/** Refusals that are told, at most: a guest may try every address there is. */
const MOST_TOLD = 10;

/**
 * Runs `job` with a network card in a network of its own.
 * @param error writes to standard error
 * @throws CliError `E_USAGE` for rules and addresses that can't be, NetworkError for ports that can't be had
 */
export async function withNet<T>(
  { mac = USUAL_MAC, rules, forwards }: NetFlags,
  error: (text: string) => void,
  job: (nics: readonly Nic[]) => Promise<T>,
): Promise<T> {
  const outside = nodeOutside();
  const network = new Switch();
  const gateway = new UserNetwork({
    network,
    outside,
    dhcp: { reservations: [{ mac: parseMac(mac)!, ip: GUEST }] },
    policy: policyFor("--net", rules, outside.hostRanges),
    onRefused: tellOnce(
      (place) => `the guest may not reach ${place.name}: --net user,allow=${place.place} lets it`,
      error,
    ),
  });
  try {
    for (const forward of forwards) {
      const { port } = await gateway.forward({ ...forward, guest: GUEST });
      if (forward.hostPort === 0)
        error(
          `hyperfile: port ${port} of this computer leads to ${forward.protocol} port ${forward.guestPort} of the guest\n`,
        );
    }
    return await job([{ network, mac }]);
  } finally {
    gateway.close();
  }
}

/**
 * The policy of an option's rules.
 * @param option is named where they can't be
 * @throws CliError `E_USAGE`
 */
export function policyFor(
  option: string,
  rules: readonly NetRule[],
  hostRanges: () => readonly string[],
): Policy {
  try {
    return policyOf(
      rules.map(({ allow, to, ports }) => ({
        allow,
        ...(to === undefined ? {} : isRange(to) ? { range: to } : { name: to }),
        ...(ports === undefined ? {} : { ports }),
      })),
      hostRanges,
    );
  } catch (cause) {
    if (!(cause instanceof NetworkError)) throw cause;
    throw new CliError("E_USAGE", `${option}: ${cause.message}`, { cause });
  }
}

/** Whether it is meant as addresses: names have a letter, and no colon. */
const isRange = (to: string): boolean => to.includes(":") || /^[\d./]+$/.test(to);

/**
 * Tells of each place that may not be reached, once.
 * @param say the words for a place, with its protocol as a name, and without as an option has it
 */
export function tellOnce(
  say: (place: { readonly name: string; readonly place: string }) => string,
  error: (text: string) => void,
) {
  const told = new Set<string>();
  return ({ protocol, address, port }: { protocol: string; address: string; port: number }): void => {
    const place = `${address.includes(":") ? `[${address}]` : address}:${port}`;
    if (told.has(place) || told.size === MOST_TOLD) return;
    told.add(place);
    const last = told.size === MOST_TOLD ? "; more of these are not told" : "";
    error(`hyperfile: ${printableLine(`${say({ name: `${protocol} ${place}`, place })}${last}`)}\n`);
  };
}
