/** The part of the devices that needs Node: files, folders and the network of the host's, codecs, images by path, and their locks. */

export { type ImageFormat, imageFormats } from "./disk/image-formats.js";
export { nodeCodecs } from "./disk/node/codecs.js";
export { commitImage, rebaseImage, resizeImage } from "./disk/node/edit-image.js";
export { FolderPlace } from "./disk/node/folder-place.js";
export {
  type ChainOptions,
  formatOf,
  type ImageChain,
  type ImageLink,
  lockChain,
} from "./disk/node/image-chain.js";
export { ImageLock, type ImageUse } from "./disk/node/image-lock.js";
export { type ImageStamp, stampOf } from "./disk/node/image-stamp.js";
export { makeFile } from "./disk/node/new-file.js";
export { NodeFile, type NodeFileOptions } from "./disk/node/node-file.js";
export { type OpenImage, type OpenImageOptions, openImage } from "./disk/node/open-image.js";
export { openStore, storePath } from "./disk/node/store-path.js";
export { type NodeOutsideOptions, nodeOutside } from "./net/node/outside.js";
export { LinuxFolder, type LinuxFolderOptions } from "./share/node/linux-folder.js";
