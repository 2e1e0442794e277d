/**
 * Images of a store by path: `STORE/images/NAME`, where the store is a folder or the address of a web server. The manifest
 * lies there, so that an image of a store is a file like any other to who names it.
 */
import { resolve, sep } from "node:path";
import { DiskError } from "../errors.js";
import { isAddress } from "../http/http-source.js";
import { HttpPlace } from "../store/http-place.js";
import { ImageStore } from "../store/image-store.js";
import { nodeCodecs } from "./codecs.js";
import { FolderPlace } from "./folder-place.js";

/** The store in a folder, or behind the address of a web server. */
export function openStore(where: string, options: { readonly isReadOnly?: boolean } = {}): ImageStore {
  const place = isAddress(where) ? new HttpPlace(where) : new FolderPlace(where, options);
  return new ImageStore(place, nodeCodecs);
}

/**
 * The store and the name in the path of an image.
 * @throws DiskError `E_IMAGE_FORMAT` if it is not in a store
 */
export function storePath(path: string): { readonly store: string; readonly name: string } {
  const [, store, name] =
    /^(.+)\/images\/(.+)$/.exec(isAddress(path) ? path : resolve(path).split(sep).join("/")) ?? [];
  if (store !== undefined && name !== undefined) return { store, name };
  throw new DiskError("E_IMAGE_FORMAT", `${path}: an image of a store has the path STORE/images/NAME`);
}
