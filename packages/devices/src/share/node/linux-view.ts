/** What one machine sees of a folder of a Linux host; `linux-folder.ts` says what confines it. */
import {
  type BigIntStatsFs,
  chmod,
  constants,
  fchmod,
  fsync,
  ftruncate,
  link,
  mkdir,
  open,
  readlink,
  rename,
  rmdir,
  statfs,
  symlink,
  truncate,
  unlink,
  utimes,
} from "node:fs";
import { FolderError } from "../errors.js";
import { checkName } from "../names.js";
import { type FileIdentity, isSameFile, NodeTable, TableNode } from "../node-table.js";
import type {
  AttributeChanges,
  FolderAttributes,
  FolderEntry,
  FolderFile,
  FolderName,
  FolderRoom,
  FolderView,
  OpenMode,
} from "../shared-folder.js";
import { Handle } from "./handles.js";
import {
  attributesOf,
  call,
  guestError,
  identityOf,
  nameIn,
  openPlace,
  pathOf,
  placeOf,
  statOf,
  whereabouts,
} from "./host-calls.js";
import { LinuxFile, openFlags } from "./linux-file.js";
import { namesIn } from "./listing.js";

/** What a view is made from. */
export interface LinuxViewOptions {
  readonly root: Handle;
  readonly identity: FileIdentity;
  readonly hasBirth: boolean;
  readonly isReadOnly: boolean;
  readonly handles: number;
}

/** Most files that are open at once. */
const MOST_FILES = 4096;
/** A name that the host makes and removes again and again is looked for so often, and a handle so often opened again. */
const [CREATE_TRIES, OPEN_TRIES] = [8, 64];
/** Set-user-id and set-group-id: programs of the guest's are not to run as the host's user. */
const SET_ID = 0o6000;
/** Bits of a file's number; numbers of other file systems have theirs above. */
const INODE_BITS = 48n;

/** A node with its handle. */
class LinuxNode extends TableNode {
  handle: Handle | undefined;
  /** Files of it that are open: its handle is kept. */
  files = 0;
}

/** The view of one machine. */
export class LinuxView implements FolderView<LinuxNode> {
  private readonly table: NodeTable<LinuxNode>;
  /** Nodes whose handles may be closed, the one that was not used for longest first. */
  private readonly idle = new Set<LinuxNode>();
  private readonly files = new Set<LinuxFile>();
  /** File systems below the folder, the folder's own first. */
  private readonly devices: bigint[];
  private isClosed = false;

  constructor(private readonly options: LinuxViewOptions) {
    this.table = new NodeTable(
      options.identity,
      (id, identity) => new LinuxNode(id, identity),
      (node) => this.dropHandle(node),
    );
    this.table.root.handle = options.root;
    this.devices = [options.identity.device];
  }

  get root(): LinuxNode {
    return this.table.root;
  }

  node(id: number): LinuxNode | undefined {
    return this.table.get(id);
  }

  forget(node: LinuxNode, count: number): boolean {
    return this.table.forget(node, count);
  }

  async lookUp(parent: LinuxNode, name: string): Promise<FolderEntry<LinuxNode>> {
    checkName(name);
    return this.within(parent, async (fd) => this.adopt(parent, name, await openPlace(fd, name)));
  }

  attributes(node: LinuxNode): Promise<FolderAttributes> {
    return this.within(node, async (fd) => this.describe(await statOf(fd)));
  }

  async change(node: LinuxNode, changes: AttributeChanges, file?: FolderFile): Promise<FolderAttributes> {
    this.checkWritable();
    const { mode, size, accessed, modified } = changes;
    return this.within(node, async (fd) => {
      const before = await statOf(fd);
      if (mode !== undefined) {
        if (node.kind === "link") throw new FolderError("EOPNOTSUPP");
        if ((mode & SET_ID & ~Number(before.mode)) !== 0) throw new FolderError("EPERM");
        await call((done) => chmod(pathOf(fd), mode & 0o7777, done as never));
      }
      if (size !== undefined) {
        if (node.kind !== "file") throw new FolderError(node.kind === "folder" ? "EISDIR" : "EINVAL");
        if (file instanceof LinuxFile && file.mode.write)
          await file.use((own) => call((done) => ftruncate(own, size, done as never)));
        else await call((done) => truncate(pathOf(fd), size, done as never));
      }
      if (accessed !== undefined || modified !== undefined) {
        const times = [accessed ?? before.atimeNs, modified ?? before.mtimeNs].map(secondsOf);
        await call((done) => utimes(pathOf(fd), times[0]!, times[1]!, done as never));
      }
      return this.describe(await statOf(fd));
    });
  }

  list(node: LinuxNode): Promise<readonly FolderName[]> {
    return this.within(node, async (fd) => {
      const names = await namesIn(pathOf(fd));
      this.confine(fd);
      return names;
    });
  }

  async readLink(node: LinuxNode): Promise<string> {
    if (node.kind !== "link") throw new FolderError("EINVAL");
    const { place } = node;
    if (place === undefined) throw new FolderError("ESTALE");
    return this.within(place.folder as LinuxNode, async (fd) => {
      const target = await call<Buffer>((done) =>
        readlink(nameIn(fd, place.name), "buffer", done as (error: unknown, target: unknown) => void),
      );
      // There is no call that reads the link of a handle; but that name has to stand for it still.
      if (!isSameFile(await this.identify(fd, place.name), node.identity)) throw new FolderError("ESTALE");
      return target.toString("latin1");
    });
  }

  async create(
    parent: LinuxNode,
    name: string,
    permissions: number,
    mode: OpenMode,
    isExclusive: boolean,
  ): Promise<FolderEntry<LinuxNode> & { readonly file: FolderFile }> {
    this.checkWritable();
    checkName(name);
    if ((permissions & SET_ID) !== 0) throw new FolderError("EPERM");
    this.checkFiles();
    for (let tries = 0; tries < CREATE_TRIES; tries++) {
      const there = isExclusive ? undefined : await unless("ENOENT", () => this.lookUp(parent, name));
      if (there !== undefined) {
        try {
          return { ...there, file: await this.open(there.node, mode) };
        } catch (error) {
          this.forget(there.node, 1);
          throw error;
        }
      }
      const made = await unless(isExclusive ? undefined : "EEXIST", () =>
        this.within(parent, (fd) => this.make(fd, parent, name, permissions, mode)),
      );
      if (made !== undefined) return made;
    }
    throw new FolderError("ESTALE");
  }

  async makeFolder(parent: LinuxNode, name: string, permissions: number): Promise<FolderEntry<LinuxNode>> {
    this.checkWritable();
    checkName(name);
    if ((permissions & SET_ID) !== 0) throw new FolderError("EPERM");
    return this.within(parent, async (fd) => {
      await call((done) => mkdir(nameIn(fd, name), permissions, done as never));
      const place = await openPlace(fd, name);
      return this.adopt(parent, name, place, async (made) => {
        const now = Number((await statOf(made)).mode) & 0o777;
        if (now !== (permissions & 0o777))
          await call((done) => chmod(pathOf(made), permissions & 0o1777, done as never));
      });
    });
  }

  async makeLink(parent: LinuxNode, name: string, target: string): Promise<FolderEntry<LinuxNode>> {
    this.checkWritable();
    checkName(name);
    return this.within(parent, async (fd) => {
      await call((done) => symlink(Buffer.from(target, "latin1"), nameIn(fd, name), done as never));
      return this.adopt(parent, name, await openPlace(fd, name));
    });
  }

  async addName(node: LinuxNode, parent: LinuxNode, name: string): Promise<FolderEntry<LinuxNode>> {
    this.checkWritable();
    checkName(name);
    const { place } = node;
    if (place === undefined) throw new FolderError("ESTALE");
    return this.within(place.folder as LinuxNode, (from) =>
      this.within(parent, async (to) => {
        // The host's links are made by name alone: the name has to stand for that file before and afterwards.
        if (!isSameFile(await this.identify(from, place.name), node.identity))
          throw new FolderError("ESTALE");
        await call((done) => link(nameIn(from, place.name), nameIn(to, name), done as never));
        const entry = await this.adopt(parent, name, await openPlace(to, name));
        if (entry.node === node) return entry;
        this.forget(entry.node, 1);
        await call((done) => unlink(nameIn(to, name), done as never));
        throw new FolderError("ESTALE");
      }),
    );
  }

  async removeName(parent: LinuxNode, name: string): Promise<void> {
    this.checkWritable();
    checkName(name);
    await this.within(parent, (fd) => call((done) => unlink(nameIn(fd, name), done as never)));
  }

  async removeFolder(parent: LinuxNode, name: string): Promise<void> {
    this.checkWritable();
    checkName(name);
    await this.within(parent, (fd) => call((done) => rmdir(nameIn(fd, name), done as never)));
  }

  async rename(from: LinuxNode, name: string, to: LinuxNode, newName: string): Promise<void> {
    this.checkWritable();
    checkName(name);
    checkName(newName);
    await this.within(from, (source) =>
      this.within(to, async (target) => {
        await call((done) => rename(nameIn(source, name), nameIn(target, newName), done as never));
        const moved = await this.identify(target, newName).catch(() => undefined);
        if (moved !== undefined) this.table.moved(moved, to, newName);
      }),
    );
  }

  async open(node: LinuxNode, mode: OpenMode): Promise<FolderFile> {
    if (mode.write || mode.truncate) this.checkWritable();
    this.checkFiles();
    const handle = await this.openHandle(node, mode, openFlags(mode));
    return this.opened(node, mode, handle);
  }

  reopen(node: LinuxNode, mode: OpenMode): FolderFile {
    return this.opened(node, { ...mode, truncate: false }, undefined);
  }

  async syncFolder(node: LinuxNode): Promise<void> {
    if (this.options.isReadOnly) return;
    if (node.kind !== "folder") throw new FolderError("ENOTDIR");
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    await this.within(node, async (fd) =>
      Handle.once(await call<number>((done) => open(pathOf(fd), flags, done)), (own) =>
        call((done) => fsync(own, done as never)),
      ),
    );
  }

  async room(): Promise<FolderRoom> {
    const room = await this.within(this.root, (fd) =>
      call<BigIntStatsFs>((done) => statfs(pathOf(fd), { bigint: true }, done)),
    );
    return {
      blockBytes: Number(room.bsize),
      blocks: room.blocks,
      free: room.bfree,
      available: room.bavail,
      files: room.files,
      freeFiles: room.ffree,
    };
  }

  save(): Uint8Array {
    return this.table.save();
  }

  restore(state: Uint8Array): void {
    this.table.restore(state);
  }

  close(): void {
    this.isClosed = true;
    for (const file of [...this.files]) file.close();
    for (const node of this.table.nodes()) this.dropHandle(node);
  }

  // -- for its files

  /** Opens a file through its node. */
  openHandle(node: LinuxNode, mode: Pick<OpenMode, "read" | "write">, flags: number): Promise<Handle> {
    if (node.kind === "folder") throw new FolderError("EISDIR");
    // Links have no bytes, and the rest are the guest's own affair: its kernel opens devices and pipes by itself.
    if (node.kind !== "file") throw new FolderError(node.kind === "link" ? "ELOOP" : "ENXIO");
    if (mode.write) this.checkWritable();
    return this.within(
      node,
      async (fd) => new Handle(await call<number>((done) => open(pathOf(fd), flags, done))),
    );
  }

  /** Refuses the file of a handle that is not in the folder any more. */
  confine(fd: number): void {
    let here: string;
    let root: string;
    try {
      here = whereabouts(fd);
      root = whereabouts(this.options.root.fd);
    } catch (error) {
      throw guestError(error) ?? error;
    }
    if (here !== root && !here.startsWith(root === "/" ? root : `${root}/`)) throw new FolderError("ESTALE");
  }

  /** A file was closed. */
  closed(file: LinuxFile, node: LinuxNode): void {
    if (!this.files.delete(file)) return;
    node.files--;
    if (node.files > 0 || node.handle === undefined) return;
    if (this.isClosed || this.table.get(node.id) !== node) this.dropHandle(node);
    else this.keep(node);
  }

  // -- inside

  /** Does something with the handle of a node, whose file is in the folder. */
  private async within<T>(node: LinuxNode, job: (fd: number) => Promise<T>): Promise<T> {
    for (let tries = 0; tries < OPEN_TRIES; tries++) {
      if (this.isClosed) throw new FolderError("ESTALE");
      const { handle } = node;
      if (handle === undefined) {
        await this.bringBack(node);
        continue;
      }
      if (this.idle.delete(node)) this.idle.add(node);
      return handle.use((fd) => {
        this.confine(fd);
        return job(fd);
      });
    }
    throw new FolderError("ENFILE");
  }

  /** Opens the place of a node again, if it is where it was last seen. */
  private async bringBack(node: LinuxNode): Promise<void> {
    const { place } = node;
    if (place === undefined) throw new FolderError("ESTALE");
    const gone = (error: unknown): never => {
      const { code } = error as { code?: string };
      throw code === "ENOENT" || code === "ENOTDIR" ? new FolderError("ESTALE") : error;
    };
    const fd = await this.within(place.folder as LinuxNode, (folder) => openPlace(folder, place.name)).catch(
      gone,
    );
    const handle = new Handle(fd);
    try {
      const identity = identityOf(await handle.use(statOf), this.options.hasBirth);
      if (!isSameFile(identity, node.identity)) throw new FolderError("ESTALE");
      this.give(node, handle);
    } catch (error) {
      handle.release();
      throw error;
    }
  }

  /**
   * Takes a place that was just opened in: gives its node, with a hold more. Its handle is the view's from now on.
   * @param prepare is done with it first
   */
  private async adopt(
    parent: LinuxNode,
    name: string,
    place: number,
    prepare?: (fd: number) => Promise<void>,
  ): Promise<FolderEntry<LinuxNode>> {
    const handle = new Handle(place);
    try {
      return await handle.use(async (fd) => {
        await prepare?.(fd);
        const stat = await statOf(fd);
        this.confine(fd);
        if (this.isClosed) throw new FolderError("ESTALE");
        const node = this.table.seen(identityOf(stat, this.options.hasBirth), parent, name);
        this.give(node, handle);
        return { node, attributes: this.describe(stat) };
      });
    } catch (error) {
      handle.release();
      throw error;
    }
  }

  /** A node has a handle now; one that has one already does not need another. */
  private give(node: LinuxNode, handle: Handle): void {
    if (node.handle !== undefined || this.isClosed) {
      handle.release();
      return;
    }
    node.handle = handle;
    if (node.files === 0) this.keep(node);
  }

  private keep(node: LinuxNode): void {
    if (node === this.root) return;
    this.idle.add(node);
    for (const oldest of this.idle) {
      if (this.idle.size <= this.options.handles) return;
      if (oldest !== node) this.dropHandle(oldest);
    }
  }

  private dropHandle(node: LinuxNode): void {
    this.idle.delete(node);
    if (node === this.root || node.handle === undefined) return;
    node.handle.release();
    node.handle = undefined;
  }

  /** Makes a file that is not there. */
  private async make(
    fd: number,
    parent: LinuxNode,
    name: string,
    permissions: number,
    mode: OpenMode,
  ): Promise<FolderEntry<LinuxNode> & { readonly file: FolderFile }> {
    const flags = openFlags(mode) | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const handle = new Handle(
      await call<number>((done) => open(nameIn(fd, name), flags, permissions & 0o777, done)),
    );
    try {
      const place = await handle.use(async (own) => {
        const now = Number((await statOf(own)).mode) & 0o7777;
        const asked = permissions & 0o1777;
        if (now !== asked) await call((done) => fchmod(own, asked, done as never));
        return placeOf(own);
      });
      const entry = await this.adopt(parent, name, place);
      return { ...entry, file: this.opened(entry.node, mode, handle) };
    } catch (error) {
      handle.release();
      throw error;
    }
  }

  private opened(node: LinuxNode, mode: OpenMode, handle: Handle | undefined): FolderFile {
    const file = new LinuxFile(this, node, mode, handle);
    this.files.add(file);
    node.files++;
    this.idle.delete(node);
    if (this.isClosed) file.close();
    return file;
  }

  private async identify(fd: number, name: string): Promise<FileIdentity> {
    return identityOf(await Handle.once(await openPlace(fd, name), statOf), this.options.hasBirth);
  }

  private describe(stat: Parameters<typeof attributesOf>[0]): FolderAttributes {
    const device = BigInt.asUintN(64, stat.dev);
    let place = this.devices.indexOf(device);
    if (place < 0) place = this.devices.push(device) - 1;
    const inode = BigInt.asUintN(64, BigInt.asUintN(64, stat.ino) + (BigInt(place) << INODE_BITS));
    return attributesOf(stat, inode);
  }

  private checkWritable(): void {
    if (this.options.isReadOnly) throw new FolderError("EROFS");
  }

  private checkFiles(): void {
    if (this.files.size >= MOST_FILES) throw new FolderError("ENFILE");
  }
}

/** What a job gives, or undefined if it fails by that error. */
async function unless<T>(code: string | undefined, job: () => Promise<T>): Promise<T | undefined> {
  try {
    return await job();
  } catch (error) {
    if (code !== undefined && (error as { code?: string }).code === code) return undefined;
    throw error;
  }
}

/**
 * Nanoseconds as Node takes times: seconds, of which it keeps whole microseconds, or as much as the number has, which is a quarter
 * of one. What is added is more than the number is too small by: the microsecond is right either way.
 */
const secondsOf = (nanoseconds: bigint): number => (Number(nanoseconds / 1000n) + 0.13) / 1e6;
