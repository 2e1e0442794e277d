/** Linux's error numbers for RISC-V (asm-generic/errno.h), with what a user is told of them. */

const texts: Readonly<Record<number, string>> = {
  1: "it is not permitted",
  2: "there is no such file or folder",
  5: "input or output failed",
  6: "nobody is there to read it",
  7: "there is too much of it",
  8: "it is no program",
  11: "there is no room for more at the moment",
  12: "there is no memory left",
  13: "permission is denied",
  16: "it is in use",
  17: "it exists already",
  20: "a part of the path is no folder",
  21: "it is a folder",
  22: "it is invalid",
  23: "too many files are open",
  24: "too many files are open",
  26: "the program is being run",
  27: "the file would be too large",
  28: "there is no space left on the disk",
  30: "the file system is read-only",
  36: "the name is too long",
  39: "the folder is not empty",
  40: "too many links lead to each other",
  71: "the host did not keep to the protocol",
  93: "the versions of hyperfile and of its agent in the guest differ: update the guest's agent",
  122: "the disk quota is used up",
};

/** No such file or folder. */
export const ENOENT = 2;

/** What an error number means. */
export const errorText = (errorNumber: number): string => texts[errorNumber] ?? `error ${errorNumber}`;
