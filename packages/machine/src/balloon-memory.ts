/** A guest's memory as its balloon device changes it: by guest-physical address, and never outside RAM. */
import { PAGE_SIZE } from "@hyperfile/jit/engine";

/** RAM of a guest; `GuestMemory` of the jit package fits. */
export interface BalloonedRam {
  readonly pages: number;
  contains(gpa: number, length: number): boolean;
  /** Number of the page that an address of RAM is in. */
  pageOf(gpa: number): number;
  isBallooned(page: number): boolean;
  balloonPage(page: number): void;
  deflatePage(page: number): void;
  discardPage(page: number): void;
}

/** What `virtioBalloon` of the devices package works on. */
export function balloonMemory(ram: BalloonedRam): {
  readonly pages: number;
  inflate(gpa: number): boolean;
  deflate(gpa: number): boolean;
  discard(gpa: number): boolean;
} {
  const pageOf = (gpa: number): number => (ram.contains(gpa, PAGE_SIZE) ? ram.pageOf(gpa) : -1);
  return {
    pages: ram.pages,
    inflate(gpa) {
      const page = pageOf(gpa);
      if (page < 0 || ram.isBallooned(page)) return false;
      ram.balloonPage(page);
      return true;
    },
    deflate(gpa) {
      const page = pageOf(gpa);
      if (page < 0 || !ram.isBallooned(page)) return false;
      ram.deflatePage(page);
      return true;
    },
    discard(gpa) {
      const page = pageOf(gpa);
      if (page < 0) return false;
      ram.discardPage(page);
      return true;
    },
  };
}
