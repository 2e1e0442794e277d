/** What a request for a capture asks for: a network that there is, a VM with a card in it, and limits that can be. */

import { LifecycleError } from "../../lifecycle/errors.js";
import { findNetwork } from "../../lifecycle/find-network.js";
import type { Fleet } from "../../lifecycle/node/fleet.js";
import type { CaptureRequest } from "../../net/capture.js";
import { countIn, RequestError } from "./routes.js";

/** Bytes of a capture at least: what there is without a frame fits. */
const LEAST_BYTES = 1024;
/** Bytes that can be kept of a frame: no frame has more. */
const MOST_SNAP_LENGTH = 0x40000;
/** The longest time that a timer holds, in seconds. */
const MOST_SECONDS = Math.floor((2 ** 31 - 1) / 1000);

/**
 * Reads a request.
 * @param name `NETWORK` or `PROJECT/NETWORK`
 * @throws LifecycleError `E_NETWORK_UNKNOWN`, `E_VM_UNKNOWN`, `E_SETTING`; RequestError `E_REQUEST`
 */
export function captureRequest(fleet: Fleet, name: string, query: URLSearchParams): CaptureRequest {
  const { project, network } = findNetwork(
    fleet
      .list()
      .flatMap((vm) =>
        vm.spec.nics.flatMap((nic) =>
          nic.network === undefined ? [] : [{ project: vm.project, network: nic.network.name }],
        ),
      ),
    name,
  );
  const vm = query.get("vm") ?? undefined;
  if (vm !== undefined) requireCard(fleet, vm, project, network);
  const snapLength = within(query, "snaplen", 1, MOST_SNAP_LENGTH);
  const mostBytes = within(query, "bytes", LEAST_BYTES, Number.MAX_SAFE_INTEGER);
  const seconds = secondsIn(query);
  return {
    ...{ project, network },
    ...(vm === undefined ? {} : { vm }),
    ...(snapLength === undefined ? {} : { snapLength }),
    ...(mostBytes === undefined ? {} : { mostBytes }),
    ...(seconds === undefined ? {} : { seconds }),
  };
}

function requireCard(fleet: Fleet, name: string, project: string, network: string): void {
  const vm = fleet.vm(name);
  const names = vm.spec.nics.map((nic) => nic.network?.name ?? "none");
  if (vm.project === project && names.includes(network)) return;
  const has = names.length === 0 ? "it has no network card" : `its cards are in ${names.join(", ")}`;
  throw new LifecycleError("E_SETTING", `VM ${name} is not in network ${project}/${network}: ${has}`);
}

function within(query: URLSearchParams, name: string, least: number, most: number): number | undefined {
  if (!query.has(name)) return undefined;
  const count = countIn(query, name, 0, Number.MAX_SAFE_INTEGER);
  if (count >= least && count <= most) return count;
  throw new RequestError("E_REQUEST", `${name}=${count} is impossible: give ${least} to ${most}`);
}

function secondsIn(query: URLSearchParams): number | undefined {
  const text = query.get("seconds");
  if (text === null) return undefined;
  const seconds = /^\d{1,12}(?:\.\d{1,9})?$/.test(text) ? Number(text) : 0;
  if (seconds >= 0.001 && seconds <= MOST_SECONDS) return seconds;
  throw new RequestError(
    "E_REQUEST",
    `seconds=${text.slice(0, 40)} is impossible: give 0.001 to ${MOST_SECONDS}`,
  );
}
