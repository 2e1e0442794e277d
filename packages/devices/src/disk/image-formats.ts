/** Formats of images; `store` is one of an image store, at `STORE/images/NAME`. */
export const imageFormats = ["raw", "qcow2", "store"] as const;
/** A format of images. */
export type ImageFormat = (typeof imageFormats)[number];
