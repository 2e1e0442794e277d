/** The WebSocket of tests that are clients: it can say an origin, and sees how it was refused. */
export { WebSocket } from "ws";
