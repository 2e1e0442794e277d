/**
 * Makes the guest of a clone, or of a machine that was restored beside its original, one of its own: machine id, host name,
 * addresses of its network cards and what they have by DHCP. Random numbers are the generation device's affair, and have
 * been made anew before.
 *
 * A card goes on with the original's address until the guest was told another, and so its cable is not to be in the
 * original's network before (`HeldNetwork` of the devices).
 */
import { AgentError } from "./errors.js";

/** What the agent does for it; an `AgentClient` is one. */
export interface IndividualAgent {
  identity(
    renews: boolean,
  ): Promise<{ readonly machineId: string; readonly hostName: string; readonly bootId: string }>;
  setHostName(name: string): Promise<void>;
  run(command: { readonly words: readonly string[] }): Promise<{
    readonly end: { readonly kind: string; readonly status?: number };
    readonly errors: Uint8Array;
  }>;
}

/** A network card of a clone. */
export interface IndividualCard {
  /** The address that it has, which is the original's, as `52:54:00:12:34:56`. */
  readonly from: string;
  /** The address that it is to have; the same if it is in another network than the original. */
  readonly to: string;
}

/** What the guest is to have. */
export interface Individual {
  /** Unless given it keeps its own. */
  readonly hostName?: string;
  readonly cards?: readonly IndividualCard[];
  /** Plugs the cables in, between the new addresses and the questions for leases. */
  readonly plugIn?: () => void;
}

const macForm = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;

/** Finds cards by their addresses: `$1` and `$2` are one's old and new one, and so on. */
const cards = (each: string): string => `
failed=
while [ $# -ge 2 ]; do
  card=
  for file in /sys/class/net/*/address; do
    read -r address < "$file" && [ "$address" = "$1" ] && card=\${file#/sys/class/net/} && card=\${card%/address}
  done
  [ -n "$card" ] || { echo "no card has the address $1" >&2; exit 1; }
  ${each}
  shift 2
done
exit $failed`;

/** A driver takes another address while it is at work, or when it is not. */
const setAddresses = cards(`[ "$1" = "$2" ] || ip link set dev "$card" address "$2" 2> /dev/null || {
    ip link set dev "$card" down && ip link set dev "$card" address "$2" && ip link set dev "$card" up
  } || failed=1`);

/** By whoever looks after the card: ifupdown, networkd, or busybox's client, as \`/init\` of the initial file system starts it. */
const renewLeases = cards(`if command -v ifquery > /dev/null && ifquery --state "$card" > /dev/null 2>&1; then
    ifdown --force "$card" > /dev/null 2>&1
    # A client that is known by an identifier of its own gets a new one, and asks for no old address.
    rm -f /var/lib/dhcpcd/duid /var/lib/dhcpcd/*.lease /var/lib/dhcp/dhclient*.leases
    ifup "$card" > /dev/null 2>&1 || failed=1
  elif command -v networkctl > /dev/null && networkctl reconfigure "$card" 2> /dev/null; then
    :
  elif [ -e /etc/network-lease ] && command -v udhcpc > /dev/null; then
    for client in $(pidof udhcpc); do
      tr '\\0' ' ' < "/proc/$client/cmdline" | grep -q -e "-i $card " && kill "$client"
    done
    udhcpc -n -t 5 -T 1 -i "$card" -s /etc/network-lease < /dev/null > /dev/null 2>&1 || failed=1
  fi`);

/**
 * Makes a guest one of its own.
 * @returns what it is now
 * @throws AgentError (the promise rejects) `E_AGENT_REQUEST` for addresses that are none, `E_AGENT_FAILED` where a card
 *   is not found, takes no other address or gets no lease, and what the agent throws
 */
export async function makeIndividual(
  agent: IndividualAgent,
  { hostName, cards: given = [], plugIn = () => {} }: Individual,
): Promise<{ readonly machineId: string; readonly hostName: string; readonly bootId: string }> {
  const addresses = given.flatMap(({ from, to }) => [from.toLowerCase(), to.toLowerCase()]);
  for (const address of addresses)
    if (!macForm.test(address))
      throw new AgentError(
        "E_AGENT_REQUEST",
        `${JSON.stringify(address)} is no address of a card: use one like 52:54:00:12:34:56`,
      );
  if (hostName !== undefined) await agent.setHostName(hostName);
  if (addresses.length > 0) await runScript(agent, setAddresses, addresses, "take another address");
  plugIn();
  const renewed = given.flatMap(({ to }) => [to.toLowerCase(), to.toLowerCase()]);
  if (renewed.length > 0) await runScript(agent, renewLeases, renewed, "get a lease");
  return agent.identity(true);
}

async function runScript(
  agent: IndividualAgent,
  script: string,
  words: readonly string[],
  what: string,
): Promise<void> {
  const { end, errors } = await agent.run({ words: ["sh", "-c", script, "sh", ...words] });
  if (end.kind === "exited" && end.status === 0) return;
  const [line = ""] = new TextDecoder().decode(errors).split("\n");
  throw new AgentError(
    "E_AGENT_FAILED",
    `the guest's cards can't ${what}${line === "" ? "" : `: ${line.slice(0, 200)}`}`,
  );
}
