/**
 * The port between a shared folder and what serves it to a guest: files and folders as objects, which a guest finds by
 * one name in one folder at a time. There are no paths here, so nothing can lead outside by one.
 *
 * Names and the targets of links are bytes, as Linux's are, held as text with a character a byte. What can't be done
 * rejects with a `FolderError`, which is the guest's to see; any other error is the host's, and the guest gets EIO.
 *
 * Each time that a view gives a node out in an {@link FolderEntry}, the receiver has one hold on it more; it lets go of
 * them by `forget`, several at a time. A node stands for one file for ever: when the file is gone the node fails with
 * ESTALE, and another file in its place is another node.
 */

/** What a name stands for. */
export type NodeKind = "file" | "folder" | "link" | "fifo" | "socket" | "block" | "character";

/** A file or a folder of a view, which made it. */
export interface FolderNode {
  /** Names it in its view, and no other node ever: 1 is the folder that is shared. An exact integer. */
  readonly id: number;
  readonly kind: NodeKind;
}

/** What a file system says of a file. Times are nanoseconds since 1970. */
export interface FolderAttributes {
  readonly kind: NodeKind;
  /** The same for all names of one file, and for no other file of the view. */
  readonly inode: bigint;
  /** Bytes. */
  readonly size: bigint;
  /** Units of 512 bytes. */
  readonly blocks: bigint;
  readonly accessed: bigint;
  readonly modified: bigint;
  readonly changed: bigint;
  /** The low twelve bits: permissions. */
  readonly mode: number;
  readonly links: number;
  /** Bytes that are best moved at once. */
  readonly blockBytes: number;
}

/** A node, with what was so when it was found. */
export interface FolderEntry<Node extends FolderNode = FolderNode> {
  readonly node: Node;
  readonly attributes: FolderAttributes;
}

/** What is to become of a file's attributes; what is left out stays. */
export interface AttributeChanges {
  readonly mode?: number;
  readonly size?: number;
  /** Nanoseconds since 1970; a host may keep less of them. */
  readonly accessed?: bigint;
  readonly modified?: bigint;
}

/** How a file is opened. */
export interface OpenMode {
  readonly read: boolean;
  readonly write: boolean;
  readonly truncate: boolean;
  /** What each write waits for: nothing, its data, or all of it. */
  readonly sync: "none" | "data" | "all";
}

/** A file that is open. It stays usable when its name is gone. */
export interface FolderFile {
  readonly mode: OpenMode;
  /** Fills the buffer from an offset; gives the number of bytes, fewer only at the end of the file. */
  read(offset: number, buffer: Uint8Array): Promise<number>;
  /** Writes all of the bytes at an offset, or at what is the end by then. */
  write(offset: number, bytes: Uint8Array, isAppend: boolean): Promise<void>;
  /** Makes it durable. */
  sync(isDataOnly: boolean): Promise<void>;
  /** Lets go of it, at once or when what is under way has ended. */
  close(): void;
}

/** A name in a folder. */
export interface FolderName {
  readonly name: string;
  /** Undefined where the host doesn't tell. */
  readonly kind: NodeKind | undefined;
}

/** Room of a file system. */
export interface FolderRoom {
  readonly blockBytes: number;
  readonly blocks: bigint;
  readonly free: bigint;
  readonly available: bigint;
  readonly files: bigint;
  readonly freeFiles: bigint;
}

/** A shared folder as one machine sees it, with the nodes that the machine knows. */
export interface FolderView<Node extends FolderNode = FolderNode> {
  readonly root: Node;
  /** The node of that id; undefined if there is none that anybody holds. */
  node(id: number): Node | undefined;
  /** Lets go of a node so many times; gives false, and lets go of it wholly, if it was held less often. */
  forget(node: Node, count: number): boolean;

  lookUp(parent: Node, name: string): Promise<FolderEntry<Node>>;
  attributes(node: Node): Promise<FolderAttributes>;
  change(node: Node, changes: AttributeChanges, file?: FolderFile): Promise<FolderAttributes>;
  /** All names but `.` and `..`. */
  list(node: Node): Promise<readonly FolderName[]>;
  readLink(node: Node): Promise<string>;
  /** Makes a file and opens it; one that is there is opened, unless it has to be new. */
  create(
    parent: Node,
    name: string,
    permissions: number,
    mode: OpenMode,
    isExclusive: boolean,
  ): Promise<FolderEntry<Node> & { readonly file: FolderFile }>;
  makeFolder(parent: Node, name: string, permissions: number): Promise<FolderEntry<Node>>;
  makeLink(parent: Node, name: string, target: string): Promise<FolderEntry<Node>>;
  /** Gives a file another name. */
  addName(node: Node, parent: Node, name: string): Promise<FolderEntry<Node>>;
  removeName(parent: Node, name: string): Promise<void>;
  removeFolder(parent: Node, name: string): Promise<void>;
  /** Moves a name, in place of one that is there. */
  rename(from: Node, name: string, to: Node, newName: string): Promise<void>;
  open(node: Node, mode: OpenMode): Promise<FolderFile>;
  /** A file that was open when the view was saved: it is opened when it is used, and fails with ESTALE if it is gone. */
  reopen(node: Node, mode: OpenMode): FolderFile;
  /** Makes the names of a folder durable. */
  syncFolder(node: Node): Promise<void>;
  room(): Promise<FolderRoom>;

  /** The nodes, for `restore`; at most {@link MOST_VIEW_BYTES}. Nothing is under way. */
  save(): Uint8Array;
  /** Takes saved nodes in place of those it has. Throws a RangeError for bytes that are none. */
  restore(state: Uint8Array): void;
  /** Lets go of all that it has of the host's, at once or when what is under way has ended. */
  close(): void;
}

/** A folder that can be shared with machines. */
export interface SharedFolder {
  /** What the host calls it, for messages. */
  readonly name: string;
  readonly isReadOnly: boolean;
  /** What one machine sees of it. Its own nodes and handles: a clone has another view of the same folder. */
  view(): FolderView;
}

/** Bytes of the largest saved view; a view refuses further nodes with ENFILE before it would exceed them. */
export const MOST_VIEW_BYTES = 16 << 20;
