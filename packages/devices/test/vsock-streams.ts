/** Streams of a device for sockets that are open, each with its user and the driver that it goes through. */
import { expect } from "vitest";
import { type VsockHeader, vsockOps } from "../src/virtio/vsock/packet.js";
import { connecting, type GuestPacket, listening, VsockDriver } from "./vsock-driver.js";

const { request, response, readWrite } = vsockOps;

/** Bytes that tell where they belong. */
export const bytesOf = (length: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => (index * 7 + seed + (index >> 8)) & 0xff);
/** Bytes behind one another. */
export const concat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
/** The bytes of packets. */
export const joined = (packets: readonly GuestPacket[]): Uint8Array =>
  concat(...packets.map(({ bytes }) => bytes));

/** A stream that a program of the guest has opened to port 5000. */
export function accepted(header: Partial<VsockHeader> = {}) {
  const driver = new VsockDriver().begin();
  const users = listening(driver.ports, 5000);
  driver.send({ op: request, ...header });
  expect(driver.takeOps()).toEqual([response]);
  const user = users[0]!;
  const send = (fields: Partial<VsockHeader>, bytes?: Uint8Array) =>
    driver.send({ op: readWrite, ...header, ...fields }, bytes);
  return { driver, users, user, stream: user.stream, send };
}

/** A stream that the host has opened to port 9000. */
export function connected(header: Partial<VsockHeader> = {}) {
  const driver = new VsockDriver().begin();
  const user = connecting(driver.ports, 9000);
  const ports = { sourcePort: 9000, destinationPort: user.stream.hostPort };
  expect(driver.takeOps()).toEqual([request]);
  const send = (fields: Partial<VsockHeader>, bytes?: Uint8Array) =>
    driver.send({ op: readWrite, ...ports, ...header, ...fields }, bytes);
  send({ op: response });
  expect(user.told.splice(0)).toEqual(["opened"]);
  return { driver, user, stream: user.stream, send };
}
