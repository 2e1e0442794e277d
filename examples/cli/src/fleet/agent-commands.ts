/** Commands that the daemon runs in guests for others: provisioning, and who uses its API. */
import type { RunByAgent } from "@hyperfile/broker";

/** Runs a line of the guest's shell through the guest agent, as the user that has all rights there. */
export const runByAgent: RunByAgent = async (connect, line, outputs, signal) => {
  const { AgentClient, AgentError, shellStatus } = await import("@hyperfile/machine/agent");
  const running = new AgentClient(connect).exec({ words: ["/bin/sh", "-c", line] }, outputs, { signal });
  running.endInput();
  try {
    return shellStatus(await running.ended);
  } catch (error) {
    if (error instanceof AgentError && error.code === "E_AGENT_ABSENT") return undefined;
    throw error;
  }
};
