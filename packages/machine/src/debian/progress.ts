/** How far long transfers are, for whoever shows it. */

/** Where a long operation reports how far it is. */
export interface Progress {
  /** A new operation starts; `totalBytes` is its size where that is known. */
  begin(title: string, totalBytes?: number): void;
  /** The operation has done `fraction` (0 to 1) of its work. */
  update(fraction: number): void;
  /** The operation is complete. */
  end(): void;
}

/** Progress that nobody sees. */
export const silentProgress: Progress = { begin() {}, update() {}, end() {} };
