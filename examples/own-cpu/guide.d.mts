export interface DocumentBlock {
  readonly code: string;
  readonly output: string;
}
export declare const GUIDE: string;
export declare const readmes: readonly string[];
export declare const BROKER: string;
export declare const blocksOf: (document: string) => DocumentBlock[];
export declare const programOf: (blocks: readonly DocumentBlock[]) => string;
export declare const outputsOf: (printed: string) => string[];
export declare const bless: (document: string, outputs: readonly string[]) => void;
export declare const proofsIn: (document: string) => { readonly path: string; readonly exists: boolean }[];
