/** A VM's agent as the commands reach it: through the daemon, whose own refusals come as they are. */
import type { ApiError, DaemonClient } from "@hyperfile/broker/client";
import { AgentClient, AgentError } from "@hyperfile/machine/agent";

/** An agent, and what the daemon has refused. */
export class GuestAgent {
  readonly client: AgentClient;
  private refusal: ApiError | undefined;

  constructor(daemon: DaemonClient, vm: string) {
    this.client = new AgentClient((port, events) =>
      daemon.connect(vm, port, events, (error) => {
        this.refusal = error;
      }),
    );
  }

  /** What is to be told of an error that the agent's client has thrown. */
  reasonOf(error: unknown): unknown {
    return this.refusal ?? error;
  }

  /** Whether an error says that the VM has no agent, or none that is up. */
  isAbsence(error: unknown): boolean {
    return this.refusal === undefined && error instanceof AgentError && error.code === "E_AGENT_ABSENT";
  }
}
