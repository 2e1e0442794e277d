/** `--net`: what the user says of a network card. */
import { isIP } from "node:net";
import { InvalidArgumentError } from "commander";

/** What a guest may reach, or may not. */
export interface NetRule {
  readonly allow: boolean;
  /** An address, a range of addresses or a name; everything unless given. */
  readonly to?: string;
  /** Ports, both ends among them; all unless given. */
  readonly ports?: readonly [number, number];
}

/** A port of this computer that leads to the guest. */
export interface NetForward {
  readonly protocol: "tcp" | "udp";
  /** Where it listens; this computer's loopback unless given. */
  readonly hostAddress?: string;
  readonly hostPort: number;
  readonly guestPort: number;
}

/** A network card as the command line names it. */
export interface NetFlags {
  /** Its address; the usual one unless given. */
  readonly mac?: string;
  /** The first that fits decides. */
  readonly rules: readonly NetRule[];
  readonly forwards: readonly NetForward[];
}

/** How `--net` is used, for messages and help. */
export const netUsage =
  "user[,forward=[udp:][ADDRESS:]PORT:PORT]...[,allow=TO[:PORT[-PORT]]]...[,deny=TO[:PORT[-PORT]]]...[,restrict][,mac=ADDRESS]";

/**
 * Reads `--net`. In `allow` and `deny`, TO is an address, a range such as 10.0.0.0/8, or a name such as example.org or
 * *.example.org; IPv6 addresses with ports have brackets. `forward` leads from a port of this computer to one of the guest.
 * @throws InvalidArgumentError
 */
export function parseNet(text: string, before?: NetFlags): NetFlags {
  if (before !== undefined) throw new InvalidArgumentError("Give --net once.");
  const [kind, ...words] = text.split(",");
  if (kind !== "user") throw new InvalidArgumentError(`There is no network "${kind}"; write ${netUsage}.`);
  const rules: NetRule[] = [];
  const forwards: NetForward[] = [];
  let mac: string | undefined;
  let isRestricted = false;
  for (const word of words) {
    const [, key = "", value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
    if (key === "restrict" && value === undefined) isRestricted = true;
    else if ((key === "allow" || key === "deny") && value !== undefined && value !== "")
      rules.push(ruleOf(key === "allow", value));
    else if (key === "forward" && value !== undefined) forwards.push(forwardOf(value));
    else if (key === "mac" && value !== undefined) {
      if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(value))
        throw new InvalidArgumentError(
          `"${value}" is no address of a card; write it like 52:54:00:12:34:56.`,
        );
      mac = value;
    } else throw new InvalidArgumentError(`There is no "${word}"; write ${netUsage}.`);
  }
  if (isRestricted) rules.push({ allow: false });
  return { rules, forwards, ...(mac === undefined ? {} : { mac }) };
}

function forwardOf(text: string): NetForward {
  const [, protocol = "tcp", bracketed, plain, host, guest] =
    /^(?:(tcp|udp):)?(?:\[([^\]]+)\]:|([^:]+):)?(\d{1,5}):(\d{1,5})$/.exec(text) ?? [];
  const [hostPort, guestPort] = [Number(host), Number(guest)];
  const hostAddress = bracketed ?? plain;
  const isAddress = hostAddress === undefined || isIP(hostAddress) !== 0;
  if (host === undefined || !isAddress || hostPort > 65535 || guestPort > 65535 || guestPort === 0)
    throw new InvalidArgumentError(
      `"${text}" leads nowhere: write it like 8022:22, udp:5353:53 or 0.0.0.0:8080:80, this computer's port first.`,
    );
  return {
    protocol: protocol as NetForward["protocol"],
    hostPort,
    guestPort,
    ...(hostAddress === undefined ? {} : { hostAddress }),
  };
}

/** Reads TO[:PORT[-PORT]] of a rule. @throws InvalidArgumentError */
export function ruleOf(allow: boolean, text: string, usage = netUsage): NetRule {
  const bracketed = /^\[([^\]]+)\](?::(.*))?$/s.exec(text);
  const plain = text.split(":").length > 2 ? [text, text, undefined] : /^([^:]+)(?::(.*))?$/s.exec(text);
  const [, to, ports] = bracketed ?? plain ?? [];
  if (to === undefined) throw new InvalidArgumentError(`"${text}" is nowhere; write ${usage}.`);
  if (ports === undefined) return { allow, to };
  const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports) ?? [];
  const [from, end] = [Number(first), Number(last)];
  if (first === undefined || from > end || end > 65535)
    throw new InvalidArgumentError(`"${ports}" are no ports; write one, or two like 8000-8080, up to 65535.`);
  return { allow, to, ports: [from, end] };
}
