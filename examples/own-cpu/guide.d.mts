export interface GuideBlock {
  readonly code: string;
  readonly output: string;
}
export declare const guideBlocks: () => GuideBlock[];
export declare const guideProgram: (blocks: readonly GuideBlock[]) => string;
export declare const outputsOf: (printed: string) => string[];
export declare const bless: (outputs: readonly string[]) => void;
