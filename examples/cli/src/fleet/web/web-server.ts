/**
 * The relay for pages, in a thread of its own: whatever pages send, the daemon answers, and VMs' frames go on. Pages come in
 * with the daemon's token; what they ask for is reached by this host's sockets, as far as a VM's guest would reach it.
 */
import { parentPort, workerData } from "node:worker_threads";
import { RelayServer } from "@hyperfile/broker/node";
import { WispRelay } from "@hyperfile/devices/net";
import { nodeOutside } from "@hyperfile/devices/node";
import { policyFor } from "../../nets.js";
import type { WebNews, WebThreadData } from "./messages.js";

/** Serves the daemon that has started this thread. */
export function serveWeb(): void {
  const tell = (news: WebNews): void => parentPort!.postMessage(news);
  startWeb(workerData as WebThreadData, tell).then(
    ({ port }) => tell({ kind: "listening", port }),
    ({ message }: Error) => tell({ kind: "failed", message }),
  );
}

/** Starts the relay. @throws DaemonError (the promise rejects) if the host does not listen there */
async function startWeb(
  { address, port, token, origins, rules }: WebThreadData,
  tell: (news: WebNews) => void,
): Promise<RelayServer> {
  const outside = nodeOutside();
  const policy = policyFor("--web-allow", rules, outside.hostRanges);
  return RelayServer.start({
    ...{ address, port, token, origins },
    changed: (count) => tell({ kind: "clients", count }),
    serve: (client, { address: from, hasRoom }) =>
      new WispRelay({
        port: client,
        ...{ outside, policy, hasRoom },
        client: from,
        onRefused: (place) => tell({ kind: "refused", ...place }),
      }),
  });
}
