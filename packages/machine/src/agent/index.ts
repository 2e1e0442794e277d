/** The host's side of the guest agent: commands, files, power, clock and names of a guest that has it. */
export * from "./client.js";
export * from "./command.js";
export type { AgentLimits } from "./connection.js";
export type { CopyEntry, CopyPart } from "./copy.js";
export * from "./errors.js";
export * from "./guest-tidings.js";
export * from "./guest-time.js";
export * from "./individual.js";
export { AGENT_PORT } from "./protocol.js";
export type { AgentStream, AgentStreamEvents, ConnectAgent } from "./stream.js";
