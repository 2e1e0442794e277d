/** The embedded guest: a small operating system of our own, built ahead of time and delivered with its source. */
export { embeddedGuest } from "./node.js";
