/** The network that a name means: `NETWORK`, or `PROJECT/NETWORK` where several projects have one of that name. */
import { shortened } from "../hyperfile/message-text.js";
import { hint } from "../hyperfile/suggest.js";
import { LifecycleError } from "./errors.js";

/** A network of a project. */
export interface NetworkName {
  readonly project: string;
  readonly network: string;
}

/**
 * The network of a name.
 * @param all networks that there are, each as often as one likes
 * @throws LifecycleError `E_NETWORK_UNKNOWN` for none, and for one of several
 */
export function findNetwork(all: readonly NetworkName[], name: string): NetworkName {
  const byFullName = new Map(all.map((each) => [fullName(each), each]));
  const whole = byFullName.get(name);
  if (whole !== undefined) return whole;
  const found = [...byFullName.values()].filter(({ network }) => network === name);
  if (found.length === 1) return found[0]!;
  if (found.length > 1)
    throw new LifecycleError(
      "E_NETWORK_UNKNOWN",
      `several projects have a network ${name}: write ${found.slice(0, 8).map(fullName).join(" or ")}`,
    );
  const names = name.includes("/") ? [...byFullName.keys()] : [...new Set(all.map(({ network }) => network))];
  throw new LifecycleError(
    "E_NETWORK_UNKNOWN",
    `there is no network ${shortened(name)}; ${hint(name, names, "networks")}`,
  );
}

const fullName = ({ project, network }: NetworkName): string => `${project}/${network}`;
