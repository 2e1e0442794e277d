/** Errors of the guest agent's client. */
import { errorText } from "./error-numbers.js";

/**
 * What went wrong: `E_AGENT_ABSENT` where no agent answers, `E_AGENT_BUSY` where there are too many connections,
 * `E_AGENT_FAILED` where it says that something can't be done, `E_AGENT_LOST` where the connection ended before the
 * operation did, `E_AGENT_PROTOCOL` where it does not keep to the protocol, `E_AGENT_TIMEOUT` where it does not answer in
 * time, `E_AGENT_ABORTED` where it was given up, `E_AGENT_FILE` where a file of the host's can't be had, `E_AGENT_REQUEST` for
 * what no agent could do.
 */
export type AgentErrorCode =
  | "E_AGENT_ABSENT"
  | "E_AGENT_BUSY"
  | "E_AGENT_FAILED"
  | "E_AGENT_LOST"
  | "E_AGENT_PROTOCOL"
  | "E_AGENT_TIMEOUT"
  | "E_AGENT_ABORTED"
  | "E_AGENT_FILE"
  | "E_AGENT_REQUEST";

/** Something that was asked of a guest's agent and is not done: one line. */
export class AgentError extends Error {
  override readonly name = "AgentError";

  constructor(
    readonly code: AgentErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** What the guest says that it can't do. */
export class AgentFailure extends AgentError {
  /** @param errorNumber Linux's number of the error; 0 if there is none */
  constructor(
    what: string,
    readonly errorNumber: number,
  ) {
    super(
      "E_AGENT_FAILED",
      errorNumber === 0 ? what : `${what}${what.endsWith(":") ? " " : ": "}${errorText(errorNumber)}`,
    );
  }
}
