import { assemble, type GuestInsn, riscvFrontEnd } from "@hyperfile/decoder";
import { describe, expect, it } from "vitest";
import { accessGroups } from "./access-groups.js";
import { optimise } from "./optimise.js";

const frontEnd = riscvFrontEnd(64);

/** For each load and store of the program: its group's number, or "-", and its offset in the group. */
function groupsOf(source: string): string {
  const { bytes } = assemble(source, { xlen: 64 });
  const insns: GuestInsn[] = [];
  for (let at = 0; at < bytes.length; at += insns[insns.length - 1]!.length)
    insns.push(frontEnd.decode(bytes, at, bytes.length - at)!);
  const block = optimise(frontEnd.translate(insns));
  const members = accessGroups(block);
  const known: object[] = [];
  const texts = block.operations.flatMap(({ op }, position) => {
    if (op !== "load" && op !== "store") return [];
    const member = members[position];
    if (member === undefined) return ["-"];
    if (!known.includes(member.group)) known.push(member.group);
    return [
      `${known.indexOf(member.group)}${member.group.writes ? "w" : "r"}${member.group.alignment}+${member.offset}`,
    ];
  });
  return texts.join(" ");
}

describe("accessGroups", () => {
  it("takes a stack frame's stores together, from the lowest", () => {
    expect(groupsOf("addi sp, sp, -32\n sd ra, 24(sp)\n sd s0, 16(sp)\n sd s1, 8(sp)")).toBe(
      "0w8+16 0w8+8 0w8+0",
    );
  });

  it("takes loads and stores off one base together, as stores", () => {
    expect(groupsOf("lw a0, 0(a5)\n lw a1, 4(a5)\n sw a0, 8(a5)")).toBe("0w4+0 0w4+4 0w4+8");
  });

  it("leaves one and two accesses alone", () => {
    expect(groupsOf("lw a0, 0(a5)\n lw a1, 4(a5)\n lw a2, 0(a4)")).toBe("- - -");
  });

  it("parts what one alignment does not serve, and what is far apart", () => {
    expect(groupsOf("ld a0, 4(a5)\n lw a1, 0(a5)\n lw a2, 8(a5)\n lw a3, 12(a5)")).toBe(
      "- 0r4+0 0r4+8 0r4+12",
    );
    expect(groupsOf("lb a0, 0(a5)\n lb a1, 1(a5)\n lb a2, 2(a5)\n lb a3, 1024(a5)")).toBe(
      "0r1+0 0r1+1 0r1+2 -",
    );
  });

  it("tells a register's values apart", () => {
    expect(groupsOf("lb a0, 0(a5)\n lb a1, 1(a5)\n lbu a5, 2(a5)\n lb a2, 3(a5)\n lb a3, 4(a5)")).toBe(
      "0r1+0 0r1+1 0r1+2 - -",
    );
  });

  it("goes across no atomic", () => {
    expect(
      groupsOf("lw a0, 0(a5)\n lw a1, 4(a5)\n amoadd.w a2, a1, (a4)\n lw a3, 8(a5)\n lw a6, 12(a5)"),
    ).toBe("- - - -");
  });

  it("groups what lies at distances from the program counter", () => {
    expect(groupsOf("auipc a5, 1\n lw a0, 0(a5)\n auipc a4, 1\n lw a1, 2(a4)\n lw a2, 6(a4)")).toBe(
      "0r4+0 0r4+8 0r4+12",
    );
  });
});
