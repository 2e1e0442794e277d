/** The part of the devices that needs Node: files of the host's, codecs, and locks of images. */
export { nodeCodecs } from "./disk/node/codecs.js";
export { NodeFile, type NodeFileOptions } from "./disk/node/node-file.js";
