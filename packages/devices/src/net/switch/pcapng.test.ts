import { expect, test } from "vitest";
import { hexBytes } from "../../../test/net-ends.js";
import { enhancedPacket, interfaceDescription, interfaceStatistics, sectionHeader } from "./pcapng.js";

const time = 0x0102030405060708n;

test("blocks are as the draft has them, byte by byte", () => {
  // Section 4.1: version 1.0, no length of the section, shb_userappl.
  expect(sectionHeader()).toEqual(
    hexBytes(`0a0d0d0a 30000000 4d3c2b1a 0100 0000 ffffffffffffffff
      0400 0900 687970657266696c65000000 0000 0000 30000000`),
  );
  // Section 4.2: Ethernet, 96 bytes, if_name, if_tsresol of nanoseconds.
  expect(interfaceDescription("db", 96)).toEqual(
    hexBytes(`01000000 28000000 0100 0000 60000000 0200 0200 64620000 0900 0100 09000000 00000000 28000000`),
  );
  // Section 4.3: five bytes of six, what its interface has sent.
  const bytes = hexBytes("010203040506");
  expect(enhancedPacket({ interfaceId: 3, direction: "in", bytes, time }, 5)).toEqual(
    hexBytes(`06000000 34000000 03000000 04030201 08070605 05000000 06000000 0102030405000000
      0200 0400 02000000 00000000 34000000`),
  );
  // What it has got, after 258 that are missing.
  expect(enhancedPacket({ interfaceId: 0, direction: "out", bytes, time, dropped: 258 }, 96)).toEqual(
    hexBytes(`06000000 40000000 00000000 04030201 08070605 06000000 06000000 0102030405060000
      0200 0400 01000000 0400 0800 0201000000000000 00000000 40000000`),
  );
  // Section 4.6: isb_starttime, isb_endtime, isb_ifrecv, isb_ifdrop.
  expect(interfaceStatistics({ interfaceId: 1, began: 5n, ended: time, received: 300, dropped: 2 })).toEqual(
    hexBytes(`05000000 4c000000 01000000 04030201 08070605
      0200 0800 00000000 05000000 0300 0800 04030201 08070605
      0400 0800 2c01000000000000 0500 0800 0200000000000000 00000000 4c000000`),
  );
});
