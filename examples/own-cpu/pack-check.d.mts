export interface Sizes {
  readonly tarballs: Readonly<Record<string, number>>;
  readonly bundles: Readonly<Record<string, { readonly minified: number; readonly gzip: number }>>;
}
export declare const packCheck: (report?: (line: string) => void) => Promise<Sizes>;
