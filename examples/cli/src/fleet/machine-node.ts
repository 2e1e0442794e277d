/** Machine memory for the VMs of many threads, as the broker takes it: the jit package's, sized for RISC-V guests. */
import type { HostFrames } from "@hyperfile/broker/memory";
import { CodePages } from "@hyperfile/jit/engine";
import { HostMemory, type ThreadPlace } from "@hyperfile/jit/memory";
import { DEFAULT_CODE_PAGES } from "@hyperfile/jit/riscv";

/** A code page for so many pages of RAM: few of them ever hold code. */
const PAGES_PER_CODE_PAGE = 8;
const LEAST_CODE_PAGES = 256;

/** Bytes of decoded code that a guest of a size gets. */
function arenaBytesFor(ramBytes: number): number {
  const wanted = Math.floor(ramBytes / 4096 / PAGES_PER_CODE_PAGE);
  return CodePages.bytesFor(Math.min(DEFAULT_CODE_PAGES, Math.max(LEAST_CODE_PAGES, wanted)), 1);
}

/** Makes a node of machine memory. @throws MemoryError if the host has not so much */
export function machineNode(frameBytes: number): HostFrames {
  const memory = new HostMemory(frameBytes);
  return {
    frames: memory.frames,
    get free() {
      return memory.free;
    },
    enter: (ramBytes) => memory.enter({ arenaBytes: arenaBytesFor(ramBytes) }),
    leave: (place) => memory.leave(place as ThreadPlace),
  };
}
