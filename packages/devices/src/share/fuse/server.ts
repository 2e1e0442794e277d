/**
 * The FUSE server: a client's requests, done in a shared folder.
 *
 * **What is kept.** The client keeps no name and no attribute (their times are zero) and no bytes of files (`FOPEN_DIRECT_IO`): each
 * look, and each read, is the host's answer of that moment, so that nothing is stale or cut off when the host writes. Bytes
 * that a program maps are in the client's page cache; it reads them anew when a file is mapped, and when its size or
 * time of change is another than it knew (`FUSE_AUTO_INVAL_DATA`). What is written is at the host when the write is done.
 *
 * **Whose it is.** Everything belongs to one user and group in the guest, whose kernel judges by that; the host's user does it.
 *
 * **Sessions.** INIT begins one and DESTROY, or a driver that resets, ends it, with its nodes and files. Requests of an earlier
 * session that are under way come to their end with what that session had.
 *
 * Locks are the client's own: FUSE_POSIX_LOCKS is not negotiated.
 */
import { FolderError, type LinuxErrorName } from "../errors.js";
import { bytesOf } from "../names.js";
import type {
  AttributeChanges,
  FolderFile,
  FolderNode,
  FolderView,
  OpenMode,
  SharedFolder,
} from "../shared-folder.js";
import { OpenFiles } from "./open-files.js";
import { FUSE_MAJOR, fileType, OLDEST_MINOR } from "./protocol.js";
import {
  attributesReply,
  entryReply,
  initReply,
  namesReply,
  type Owner,
  openReply,
  roomReply,
  versionReply,
  writeReply,
} from "./reply.js";
import type { FuseRequest, SetAttributes } from "./request.js";

/** What a request came to: the bytes of its answer, or an error. */
export type FuseAnswer = { readonly parts: readonly Uint8Array[] } | { readonly error: LinuxErrorName };

/** What a server is made from. */
export interface FuseServerOptions {
  readonly folder: SharedFolder;
  readonly owner: Owner;
  /** Is told of what the host could not do, and the guest only sees as EIO. */
  readonly onError?: (error: unknown) => void;
}

/** The saved form of a server. */
export interface FuseServerState {
  readonly isReady: boolean;
  readonly nodes: Uint8Array;
  readonly open: Uint8Array;
}

/** Kinds of requests that have answers. */
type Asked = Exclude<FuseRequest, { kind: "forget" | "interrupt" }>;

const done: FuseAnswer = { parts: [] };
const answer = (...parts: readonly Uint8Array[]): FuseAnswer => ({ parts });
/** A file of which nobody reads or writes anything. */
const justMade: OpenMode = { read: true, write: false, truncate: false, sync: "none" };

/** A server, for one client at a time. */
export class FuseServer {
  readonly counters = { requests: 0, refused: 0, errors: 0, wrongForgets: 0, bytesRead: 0, bytesWritten: 0 };
  private session: Session;

  constructor(private readonly options: FuseServerOptions) {
    this.session = new Session(options.folder.view());
  }

  /** Takes holds away; those that the client did not have are counted. */
  forget(asked: Extract<FuseRequest, { kind: "forget" }>): void {
    const { view } = this.session;
    for (const { node, count } of asked.nodes) {
      const found = view.node(node);
      if (found === undefined || !view.forget(found, count)) this.counters.wrongForgets++;
    }
  }

  /**
   * Does what a client asks; never rejects.
   * @param data what is written, or where to put what is read
   */
  async serve(asked: Asked, data: Uint8Array): Promise<FuseAnswer> {
    this.counters.requests++;
    try {
      return await this.do(asked, data);
    } catch (error) {
      this.counters.refused++;
      if (error instanceof FolderError) return { error: error.code };
      this.counters.errors++;
      this.options.onError?.(error);
      return { error: "EIO" };
    }
  }

  /** Ends what there is; the next client begins anew. */
  reset(): void {
    this.session.end();
    this.session = new Session(this.options.folder.view());
  }

  /** Lets go of everything for good. */
  close(): void {
    this.session.end();
  }

  /** Nothing is under way. */
  save(): FuseServerState {
    const { isReady, view, open } = this.session;
    return { isReady, nodes: view.save(), open: open.save(view) };
  }

  /** @throws RangeError for a state that nobody saved; nothing has changed then */
  restore(state: FuseServerState): void {
    const session = new Session(this.options.folder.view());
    try {
      session.isReady = state.isReady;
      session.view.restore(state.nodes);
      session.open.restore(state.open, session.view);
    } catch (error) {
      session.end();
      throw error;
    }
    this.session.end();
    this.session = session;
  }

  private async do(asked: Asked, data: Uint8Array): Promise<FuseAnswer> {
    const { session } = this;
    if (asked.kind === "refused") throw new FolderError(asked.error);
    if (asked.kind === "init") return this.begin(asked);
    if (!session.isReady) throw new FolderError("EIO");
    const { view, open } = session;
    const { owner } = this.options;
    switch (asked.kind) {
      case "destroy":
        this.reset();
        return done;
      case "lookup":
        return entry(await view.lookUp(session.node(asked.node), asked.name), owner);
      case "getattr":
        return answer(attributesReply(await view.attributes(session.node(asked.node)), owner));
      case "setattr":
        return answer(attributesReply(await this.change(session, asked.node, asked.set), owner));
      case "readlink": {
        const target = bytesOf(await view.readLink(session.node(asked.node)));
        if (target.length > asked.room) throw new FolderError("ENAMETOOLONG");
        return answer(target);
      }
      case "symlink":
        return entry(await view.makeLink(session.node(asked.node), asked.name, asked.target), owner);
      case "mknod":
        return entry(await makeNode(view, session.node(asked.node), asked.name, asked.mode), owner);
      case "mkdir":
        return entry(await view.makeFolder(session.node(asked.node), asked.name, asked.mode & 0o7777), owner);
      case "unlink":
        await view.removeName(session.node(asked.node), asked.name);
        return done;
      case "rmdir":
        await view.removeFolder(session.node(asked.node), asked.name);
        return done;
      case "rename":
        // Node has no renameat2: programs fall back to what needs none.
        if (asked.flags !== 0) throw new FolderError("EINVAL");
        await view.rename(session.node(asked.node), asked.name, session.node(asked.folder), asked.newName);
        return done;
      case "link":
        return entry(await view.addName(session.node(asked.of), session.node(asked.node), asked.name), owner);
      case "open": {
        const node = session.node(asked.node);
        return answer(openReply(session.opened(node, await view.open(node, asked.mode)), false));
      }
      case "create": {
        const { name, permissions, mode, isExclusive } = asked;
        const made = await view.create(session.node(asked.node), name, permissions, mode, isExclusive);
        const file = session.opened(made.node, made.file);
        return answer(entryReply(made.node.id, made.attributes, owner), openReply(file, false));
      }
      case "read": {
        const target = data.subarray(0, asked.size);
        if (asked.offset > Number.MAX_SAFE_INTEGER - asked.size) throw new FolderError("EINVAL");
        const count = await open.file(asked.file).read(asked.offset, target);
        this.counters.bytesRead += count;
        return answer(target.subarray(0, count));
      }
      case "write": {
        if (asked.offset > Number.MAX_SAFE_INTEGER - asked.size) throw new FolderError("EFBIG");
        await open.file(asked.file).write(asked.offset, data, asked.isAppend);
        this.counters.bytesWritten += data.length;
        return answer(writeReply(data.length));
      }
      case "statfs":
        return answer(roomReply(await view.room()));
      case "release":
        open.closeFile(asked.file);
        return done;
      case "fsync":
        await open.file(asked.file).sync(asked.isDataOnly);
        return done;
      case "flush":
        // What was written is at the host already; the client need not ask again.
        throw new FolderError("ENOSYS");
      case "opendir": {
        const node = session.node(asked.node);
        if (node.kind !== "folder") throw new FolderError("ENOTDIR");
        return answer(openReply(open.addFolder(node), true));
      }
      case "readdir": {
        const folder = open.folder(asked.file);
        const kept = asked.offset > 0 ? folder.names : undefined;
        const names = kept ?? open.named(folder, await view.list(session.node(folder.node.id)));
        return answer(namesReply(names, asked.offset, asked.size));
      }
      case "releasedir":
        open.closeFolder(asked.file);
        return done;
      case "fsyncdir":
        await view.syncFolder(session.node(open.folder(asked.file).node.id));
        return done;
    }
  }

  private begin({
    major,
    minor,
    readahead,
    flags,
    flags2,
  }: Extract<FuseRequest, { kind: "init" }>): FuseAnswer {
    if (major > FUSE_MAJOR) return answer(versionReply());
    if (major < FUSE_MAJOR || minor < OLDEST_MINOR) throw new FolderError("EPROTO");
    this.reset();
    this.session.isReady = true;
    return answer(initReply(flags, flags2, readahead));
  }

  private change(session: Session, id: number, set: SetAttributes) {
    const { uid, gid } = this.options.owner;
    // Nothing can belong to anybody else.
    if ((set.uid ?? uid) !== uid || (set.gid ?? gid) !== gid) throw new FolderError("EPERM");
    if (set.size !== undefined && set.size > Number.MAX_SAFE_INTEGER) throw new FolderError("EFBIG");
    const time = (value: bigint | "now"): bigint =>
      value === "now" ? BigInt(Date.now()) * 1_000_000n : value;
    const changes: AttributeChanges = {
      ...(set.mode === undefined ? {} : { mode: set.mode }),
      ...(set.size === undefined ? {} : { size: set.size }),
      ...(set.accessed === undefined ? {} : { accessed: time(set.accessed) }),
      ...(set.modified === undefined ? {} : { modified: time(set.modified) }),
    };
    const file = set.file === undefined ? undefined : session.open.file(set.file);
    return session.view.change(session.node(id), changes, file);
  }
}

/** What one client has, from its INIT on. */
class Session {
  readonly open = new OpenFiles();
  isReady = false;
  private isEnded = false;

  constructor(readonly view: FolderView) {}

  /** @throws FolderError `ESTALE` for what the client does not hold */
  node(id: number): FolderNode {
    const node = this.view.node(id);
    if (node === undefined) throw new FolderError("ESTALE");
    return node;
  }

  /** A number for a file that was opened; one that comes too late is closed. */
  opened(node: FolderNode, file: FolderFile): number {
    if (!this.isEnded) return this.open.addFile(node, file);
    file.close();
    throw new FolderError("ESTALE");
  }

  end(): void {
    this.isEnded = true;
    this.view.close();
  }
}

const entry = ({ node, attributes }: Awaited<ReturnType<FolderView["lookUp"]>>, owner: Owner): FuseAnswer =>
  answer(entryReply(node.id, attributes, owner));

/** Makes a regular file. Node makes no pipes and no sockets, and devices of the guest's are none of the host's. */
async function makeNode(view: FolderView, parent: FolderNode, name: string, mode: number) {
  const type = mode & fileType.mask;
  if (type !== 0 && type !== fileType.file) throw new FolderError("EPERM");
  const { file, ...made } = await view.create(parent, name, mode & 0o7777, justMade, true);
  file.close();
  return made;
}
