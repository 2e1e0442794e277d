/** Ways out of the page's network, which are loaded when one is chosen. */
import type { Outside } from "@hyperfile/devices/net";
import { fetchOutside, wispOutside } from "@hyperfile/devices/web";
import type { OutsideChoice } from "./protocol.js";

/**
 * Opens a way out.
 * @param tell hears how it is: connected, refused, lost
 * @throws an error of one line for an address that is none
 */
export function openWay(
  choice: Exclude<OutsideChoice, { kind: "none" }>,
  tell: (text: string) => void,
): Outside & { close(): void } {
  switch (choice.kind) {
    case "web":
      tell("Web requests go out by this browser.");
      return fetchOutside();
    case "relay":
      tell("Connecting to the relay ...");
      return wispOutside({ url: choice.url, state: tell });
  }
}
