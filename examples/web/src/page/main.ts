/**
 * The page: machines, their terminals, and the broker's table and plots. The worker loads first: it makes its first machine
 * ready while terminals and plots are still on their way.
 */
import "@xterm/xterm/css/xterm.css";
import "./style.css";
import { element } from "./elements.js";
import { guestChoices } from "./guests.js";
import { VmHost } from "./vm-host.js";

const platform = element("platform", HTMLParagraphElement);
try {
  const host = new VmHost();
  const [{ FleetView }, { isIsolated, memoryBytes }, choices] = await Promise.all([
    import("./fleet-view.js"),
    host.ready,
    guestChoices(),
  ]);
  platform.textContent = `${Math.floor(memoryBytes / 2 ** 20)} MiB for all machines; ${
    isIsolated
      ? "this page is cross-origin isolated"
      : "this page is not cross-origin isolated, which machines here do not need"
  }.`;
  new FleetView(host).begin(choices);
} catch (error) {
  platform.textContent = `Machines can't run here: ${(error as Error).message}`;
  platform.classList.add("error");
}
