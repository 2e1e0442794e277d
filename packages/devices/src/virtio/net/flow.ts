/** Which of several receive queues a frame goes to: frames of one connection to one, so that they keep their order. */
import { etherTypes, parseEthernet } from "../../net/frames/ethernet.js";
import { ipProtocols } from "../../net/frames/ip.js";

/** A number from the addresses and ports of a frame, the same for all frames of a connection; 0 for other frames. */
export function flowHash(bytes: Uint8Array): number {
  const ethernet = parseEthernet(bytes);
  if (ethernet === undefined) return 0;
  const at = ethernet.payload;
  const isFour = ethernet.type === etherTypes.ipv4;
  if (!isFour && ethernet.type !== etherTypes.ipv6) return 0;
  const [from, end] = isFour ? [at + 12, at + 20] : [at + 8, at + 40];
  const protocol = bytes[at + (isFour ? 9 : 6)];
  const isFragment = isFour && (((bytes[at + 6] ?? 0) & 0x3f) !== 0 || (bytes[at + 7] ?? 0) !== 0);
  const hasPorts = !isFragment && (protocol === ipProtocols.tcp || protocol === ipProtocols.udp);
  let hash = protocol ?? 0;
  const add = (start: number, stop: number): void => {
    for (let index = start; index < stop; index++) hash = Math.imul(hash ^ (bytes[index] ?? 0), 0x01000193);
  };
  add(from, end);
  const ports = isFour ? at + ((bytes[at] ?? 0) & 15) * 4 : at + 40;
  if (hasPorts) add(ports, ports + 4);
  return (hash ^ (hash >>> 15)) >>> 0;
}
