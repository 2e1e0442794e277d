/**
 * The nodes of a view: which file each stands for, where it was last seen, and how often it is held.
 *
 * A file is known by device, number, kind and time of birth, never by its name. A node stays while it is held, and while a
 * node that stays was last seen in it: so there is a way from the root to each. What the table holds is bounded by what it
 * is saved as.
 *
 *   u64 next id, then for each node, after the one that it is in:
 *   u64 id   u64 holds   u32 folder (0 the root, n the n-th node)   u64 device   u64 number   i64 birth   u8 kind
 *   u8 length of the name, name
 */
import { FolderError } from "./errors.js";
import { bytesOf, isName, textOf } from "./names.js";
import { type FolderNode, MOST_VIEW_BYTES, type NodeKind } from "./shared-folder.js";

/** What a file is known by. */
export interface FileIdentity {
  readonly kind: NodeKind;
  readonly device: bigint;
  readonly inode: bigint;
  /** Nanoseconds since 1970; 0 where the file system doesn't tell. */
  readonly born: bigint;
}

/** Where a name is. */
export interface NodePlace {
  readonly folder: TableNode;
  readonly name: string;
}

const kinds: readonly NodeKind[] = ["file", "folder", "link", "fifo", "socket", "block", "character"];
const ROOT_ID = 1;
const HEADER_BYTES = 8;
const RECORD_BYTES = 46;

/** A node of a table. */
export class TableNode implements FolderNode {
  /** Times that it is held. */
  holds = 0;
  /** Nodes that were last seen in it. */
  children = 0;
  /** Where it was last seen; undefined if that is known to be wrong, and for the root. */
  place: NodePlace | undefined;

  constructor(
    readonly id: number,
    readonly identity: FileIdentity,
  ) {}

  get kind(): NodeKind {
    return this.identity.kind;
  }
}

/** Whether two identities are one file's. */
export function isSameFile(one: FileIdentity, other: FileIdentity): boolean {
  return (
    one.inode === other.inode &&
    one.device === other.device &&
    one.kind === other.kind &&
    one.born === other.born
  );
}

const keyOf = ({ device, inode }: FileIdentity): string => `${device}:${inode}`;

/** The nodes of a view. */
export class NodeTable<Node extends TableNode> {
  readonly root: Node;
  private readonly byId = new Map<number, Node>();
  private readonly byFile = new Map<string, Node>();
  private nextId = ROOT_ID + 1;
  /** Bytes that it would be saved as. */
  private bytes = HEADER_BYTES;

  /**
   * @param make makes a node
   * @param onGone a node has left the table
   */
  constructor(
    root: FileIdentity,
    private readonly make: (id: number, identity: FileIdentity) => Node,
    private readonly onGone: (node: Node) => void,
    private readonly mostBytes = MOST_VIEW_BYTES,
  ) {
    this.root = make(ROOT_ID, root);
    this.byFile.set(keyOf(root), this.root);
  }

  /** Nodes but the root. */
  get size(): number {
    return this.byId.size;
  }

  /** All nodes but the root. */
  nodes(): IterableIterator<Node> {
    return this.byId.values();
  }

  /** The node of that id that somebody holds. */
  get(id: number): Node | undefined {
    if (id === ROOT_ID) return this.root;
    const node = this.byId.get(id);
    return node === undefined || node.holds === 0 ? undefined : node;
  }

  /** The node that stands for a file, if there is one. One of an earlier file with the same number is left behind. */
  find(identity: FileIdentity): Node | undefined {
    const node = this.byFile.get(keyOf(identity));
    return node !== undefined && isSameFile(node.identity, identity) ? node : undefined;
  }

  /**
   * A file was seen: gives its node, made if need be, with one hold more.
   * @throws FolderError `ENFILE` if there is no room for more nodes
   */
  seen(identity: FileIdentity, folder: Node, name: string): Node {
    let node = this.find(identity);
    if (node === this.root) return node;
    if (node === undefined) {
      if (this.bytes + RECORD_BYTES + name.length > this.mostBytes) throw new FolderError("ENFILE");
      node = this.make(this.nextId++, identity);
      this.byId.set(node.id, node);
      this.byFile.set(keyOf(identity), node);
      this.bytes += RECORD_BYTES;
    }
    node.holds++;
    this.put(node, folder, name);
    return node;
  }

  /** A file was seen somewhere; nothing happens if nobody holds it. */
  moved(identity: FileIdentity, folder: Node, name: string): void {
    const node = this.find(identity);
    if (node !== undefined && node !== this.root) this.put(node, folder, name);
  }

  /** Takes holds away; false, and none are left, if there were fewer. */
  forget(node: Node, count: number): boolean {
    if (node === this.root) return true;
    const isExact = count <= node.holds;
    node.holds = isExact ? node.holds - count : 0;
    this.sweep(node);
    return isExact;
  }

  /** The nodes as bytes. */
  save(): Uint8Array {
    const ordered = new Map<TableNode, number>([[this.root, 0]]);
    for (const node of this.byId.values()) {
      const way: TableNode[] = [];
      for (let at: TableNode | undefined = node; at !== undefined && !ordered.has(at); at = at.place?.folder)
        way.push(at);
      for (const each of way.reverse()) ordered.set(each, ordered.size);
    }
    ordered.delete(this.root);
    const bytes = new Uint8Array(this.bytes);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, BigInt(this.nextId), true);
    let at = HEADER_BYTES;
    for (const node of ordered.keys()) {
      const { kind, device, inode, born } = node.identity;
      const { folder, name } = node.place ?? { folder: this.root, name: "" };
      view.setBigUint64(at, BigInt(node.id), true);
      view.setBigUint64(at + 8, BigInt(node.holds), true);
      view.setUint32(at + 16, ordered.get(folder) ?? 0, true);
      view.setBigUint64(at + 20, device, true);
      view.setBigUint64(at + 28, inode, true);
      view.setBigInt64(at + 36, born, true);
      view.setUint8(at + 44, kinds.indexOf(kind));
      view.setUint8(at + 45, name.length);
      bytes.set(bytesOf(name), at + RECORD_BYTES);
      at += RECORD_BYTES + name.length;
    }
    return bytes;
  }

  /** Takes saved nodes in place of those that are there. @throws RangeError for bytes that are none */
  restore(bytes: Uint8Array): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const fail = (what: string): never => {
      throw new RangeError(what);
    };
    const id = (at: number, what: string): number => {
      const value = view.getBigUint64(at, true);
      return value <= Number.MAX_SAFE_INTEGER ? Number(value) : fail(what);
    };
    if (bytes.length < HEADER_BYTES || bytes.length > this.mostBytes) fail("its length is none of nodes");
    const nextId = id(0, "its next id is none");
    const found: Node[] = [];
    const ids = new Set<number>();
    const files = new Map([[keyOf(this.root.identity), this.root]]);
    for (let at = HEADER_BYTES; at < bytes.length; ) {
      const length = bytes[at + RECORD_BYTES - 1] ?? 0;
      const end = at + RECORD_BYTES + length;
      if (end > bytes.length) fail("it ends within a node");
      const own = id(at, "a node's id is none");
      if (own <= ROOT_ID || own >= nextId || ids.has(own)) fail("a node's id is taken or was never given");
      const kind = kinds[view.getUint8(at + 44)] ?? fail("a node's kind is none");
      const name = textOf(bytes.subarray(at + RECORD_BYTES, end));
      const folder = view.getUint32(at + 16, true);
      if (folder > found.length || (name !== "" && !isName(name))) fail("a node's place is none");
      const node = this.make(own, {
        kind,
        device: view.getBigUint64(at + 20, true),
        inode: view.getBigUint64(at + 28, true),
        born: view.getBigInt64(at + 36, true),
      });
      node.holds = id(at + 8, "a node's holds are none");
      if (name !== "") node.place = { folder: folder === 0 ? this.root : found[folder - 1]!, name };
      ids.add(own);
      found.push(node);
      // Of two with one file's number the later one is the one that may be there still.
      const other = files.get(keyOf(node.identity));
      if (other === undefined || (other !== this.root && other.id < own))
        files.set(keyOf(node.identity), node);
      at = end;
    }
    for (const node of this.byId.values()) this.onGone(node);
    this.byId.clear();
    this.byFile.clear();
    this.root.children = 0;
    for (const [key, node] of files) this.byFile.set(key, node);
    for (const node of found) {
      this.byId.set(node.id, node);
      if (node.place !== undefined) node.place.folder.children++;
    }
    this.nextId = nextId;
    this.bytes = bytes.length;
    for (const node of found) this.sweep(node);
  }

  private put(node: Node, folder: Node, name: string): void {
    const { place } = node;
    if (place?.folder === folder && place.name === name) return;
    // The host has turned folders inside out: where one of them was seen is not where it is.
    for (let at: TableNode = folder; at.place !== undefined; at = at.place.folder) {
      if (at !== node && at.place.folder !== node) continue;
      this.lose(at as Node);
      break;
    }
    // Nor is a place known in a folder that nobody holds any more, or for which there is no room.
    const isKnown = folder !== node && this.has(folder) && this.has(node);
    if (!isKnown || this.bytes + name.length > this.mostBytes) {
      this.lose(node);
      return;
    }
    folder.children++;
    this.lose(node);
    node.place = { folder, name };
    this.bytes += name.length;
  }

  private has(node: Node): boolean {
    return node === this.root || this.byId.get(node.id) === node;
  }

  /** It is not where it was last seen. */
  private lose(node: Node): void {
    const { place } = node;
    if (place === undefined) return;
    node.place = undefined;
    this.bytes -= place.name.length;
    place.folder.children--;
    this.sweep(place.folder as Node);
  }

  /** Lets go of a node that nobody needs, and of those that it was in. */
  private sweep(node: Node): void {
    for (let at = node; at !== this.root && at.holds === 0 && at.children === 0; ) {
      if (!this.byId.delete(at.id)) return;
      const key = keyOf(at.identity);
      if (this.byFile.get(key) === at) this.byFile.delete(key);
      this.bytes -= RECORD_BYTES;
      const { place } = at;
      at.place = undefined;
      this.onGone(at);
      if (place === undefined) return;
      this.bytes -= place.name.length;
      place.folder.children--;
      at = place.folder as Node;
    }
  }
}
