/** `--share`: what is understood, and what each mistake is told. */
import { describe, expect, it } from "vitest";
import { parseShare, type ShareFlags } from "./share-flags.js";
import { withShares } from "./shares.js";

describe("--share", () => {
  it("opens the folder for the run, and says what is none", async () => {
    const here = parseShare(".=here,readonly");
    const seen = await withShares(
      here,
      () => {},
      async ([share]) => [share!.tag, share!.folder.isReadOnly],
    );
    expect(seen).toEqual(["here", true]);
    const none = parseShare("./none=tag", here);
    await expect(
      withShares(
        none,
        () => {},
        async () => "run",
      ),
    ).rejects.toMatchObject({
      code: "E_SHARE_FOLDER",
      message: "can't share ./none: there is no such folder: make it, or name another",
    });
  });

  it("names a folder and its tag", () => {
    const first = parseShare("work=work");
    expect(first).toEqual([{ path: "work", tag: "work", isReadOnly: false }]);
    expect(parseShare("/a=b,,c/d=e.f-1,readonly", first)).toEqual([
      ...first,
      { path: "/a=b,c/d", tag: "e.f-1", isReadOnly: true },
    ]);
  });

  it.each([
    ["", "Name the folder and its tag: DIR=TAG[,readonly]."],
    ["work", "Name the folder and its tag: DIR=TAG[,readonly]."],
    ["=tag", "Name the folder and its tag: DIR=TAG[,readonly]."],
    ["work=", '"" is no tag: use 1 to 36 letters, digits, ".", "_" and "-", the first no "." or "-".'],
    ["work=a b", '"a b" is no tag: use 1 to 36 letters, digits, ".", "_" and "-", the first no "." or "-".'],
    ["work=..", '".." is no tag: use 1 to 36 letters, digits, ".", "_" and "-", the first no "." or "-".'],
    ["w=a/b", '"a/b" is no tag: use 1 to 36 letters, digits, ".", "_" and "-", the first no "." or "-".'],
    ["work=tag,writable", 'There is no "writable"; write DIR=TAG[,readonly].'],
    ["work=tag,readonly,readonly", "Give readonly once."],
  ])("refuses %s", (text, message) => {
    expect(() => parseShare(text)).toThrow(expect.objectContaining({ message }));
  });

  it("refuses a tag twice, and more folders than slots", () => {
    const one = parseShare("work=tag");
    expect(() => parseShare("other=tag", one)).toThrow(
      expect.objectContaining({ message: "Give the tag tag once." }),
    );
    const all = Array.from({ length: 6 }, (_, index) => `d=t${index}`).reduce<readonly ShareFlags[]>(
      (before, text) => parseShare(text, before),
      parseShare("d=first").slice(1),
    );
    expect(() => parseShare("d=more", all)).toThrow(
      expect.objectContaining({ message: "A machine takes 6 folders." }),
    );
  });
});
