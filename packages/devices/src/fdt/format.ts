/** Constants of the flattened format (Devicetree specification 0.4, chapter 5), for its reader and its writer. */

/** First word of every tree. */
export const FDT_MAGIC = 0xd00dfeed;
/** Version of the format that is written, and the least that is read. */
export const FDT_VERSION = 17;
/** Oldest version whose readers understand version 17. */
export const FDT_LAST_COMPATIBLE = 16;
/** Bytes of the header. */
export const FDT_HEADER_BYTES = 40;
/** Longest name of a node or property; the specification asks for 31 (section 2.2), real trees have longer ones. */
export const FDT_NAME_MAXIMUM = 255;
const NAME = new RegExp(`^[0-9a-zA-Z,._+*?#@-]{1,${FDT_NAME_MAXIMUM}}$`);
/** Whether a node below the root, or a property, can have this name: the characters that dtc takes. */
export const isFdtName = (name: string): boolean => NAME.test(name);

/** Tokens of the structure block (section 5.4.1). */
export const FDT_TOKEN = { beginNode: 1, endNode: 2, property: 3, nop: 4, end: 9 } as const;

/** A range of memory that the operating system must leave alone, in bytes (section 5.3). */
export interface FdtReservation {
  readonly gpa: number;
  readonly size: number;
}
