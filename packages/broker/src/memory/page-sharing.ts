/**
 * Content-based page sharing (C. Waldspurger, Memory Resource Management in VMware ESX Server, OSDI 2002, section 4):
 * pages are looked at in turn, a few at a time; one whose bytes equal another's gives up its frame for the other's,
 * and both are copied before they are written. A page of zeros gives up its frame for none.
 *
 * - Only pages that were the same at two looks in a row are shared: others are about to change again.
 * - A hash only suggests: bytes are compared before anything is shared.
 * - A page has one hint at most, for the bytes that it had at the last look: hints cost no more than the pages do.
 * - Guests of different trust groups never share: how long a write takes would tell one what another has in memory.
 *   Hashes are salted a group, so that none can aim for another's.
 */
import { type BrokeredFrames, type BrokeredMemory, PAGE_SIZE } from "./ports.js";

const PAGE_WORDS = PAGE_SIZE / 4;

/** A guest whose pages may be shared. */
export interface SharingGuest {
  readonly memory: BrokeredMemory;
  /** Guests share within their group only. */
  readonly group: string;
  /** The frame that must stay as it is now, because the hart holds a reservation in it; -1 if none must. */
  reservedFrame?(): number;
}

interface Candidate {
  readonly guest: SharingGuest;
  readonly page: number;
}

interface Group {
  readonly salt: number;
  /** Guests in it; without any it is forgotten. */
  guests: number;
  /** Places that may have the bytes of a hash. */
  readonly hints: Map<number, Candidate>;
}

/** Pages without a frame that are passed over for each page that is looked at. */
const PASSED = 8;

/** Finds equal pages and shares them. No guest may run during a call. */
export class PageSharing {
  readonly counters = { scanned: 0, shared: 0, zeros: 0, falseHints: 0, rounds: 0 };
  private readonly guests: SharingGuest[] = [];
  private readonly groups = new Map<string, Group>();
  /** Hash of each page at the last look. */
  private readonly seen = new Map<SharingGuest, Uint32Array>();
  private guest = 0;
  private page = 0;

  /** @param salt gives a random 32-bit number for each trust group */
  constructor(
    private readonly frames: BrokeredFrames,
    private readonly salt: () => number = () => Math.floor(Math.random() * 2 ** 32),
  ) {}

  /** Hints that are kept. */
  get hints(): number {
    let sum = 0;
    for (const { hints } of this.groups.values()) sum += hints.size;
    return sum;
  }

  /** Looks at a guest's pages from now on. */
  add(guest: SharingGuest): void {
    this.guests.push(guest);
    this.groupOf(guest).guests++;
    this.seen.set(guest, new Uint32Array(guest.memory.pages));
  }

  /** Forgets a guest. Frames that it shared stay with the others. */
  remove(guest: SharingGuest): void {
    const index = this.guests.indexOf(guest);
    if (index < 0) return;
    this.guests.splice(index, 1);
    this.seen.delete(guest);
    if (index < this.guest) this.guest--;
    else if (index === this.guest) this.page = 0;
    const group = this.groupOf(guest);
    for (const [hash, candidate] of group.hints) if (candidate.guest === guest) group.hints.delete(hash);
    if (--group.guests === 0) this.groups.delete(guest.group);
  }

  /** Looks at the next pages that have frames, at most `count`; gives the number of frames that became free. */
  scan(count: number): number {
    const before = this.frames.used;
    let looked = 0;
    // No more than once around, and not even that for guests of much memory and few frames.
    const all = this.guests.reduce((sum, { memory }) => sum + memory.pages, 0);
    let left = Math.min(all, count * PASSED);
    while (looked < count && left-- > 0) {
      const guest = this.guests[this.guest % this.guests.length]!;
      if (this.page >= guest.memory.pages) {
        this.page = 0;
        this.guest = (this.guest + 1) % this.guests.length;
        if (this.guest === 0) this.counters.rounds++;
        continue;
      }
      if (this.look(guest, this.page++)) looked++;
    }
    this.counters.scanned += looked;
    return before - this.frames.used;
  }

  private look(guest: SharingGuest, page: number): boolean {
    const { memory } = guest;
    const frame = memory.peekFrame(page);
    const group = this.groupOf(guest);
    const seen = this.seen.get(guest)!;
    const before = seen[page]!;
    if (frame < 0) {
      if (before !== 0) this.dropHint(group, before, guest, page);
      seen[page] = 0;
      return false;
    }
    const hash = this.frames.hash(frame, group.salt);
    const stable = before === hash;
    if (!stable) this.dropHint(group, before, guest, page);
    seen[page] = hash;
    if (!stable || frame === guest.reservedFrame?.()) return true;
    if (this.isZero(frame)) {
      memory.discardPage(page);
      this.counters.zeros++;
      return true;
    }
    const hint = group.hints.get(hash);
    const other = hint === undefined ? -1 : hint.guest.memory.peekFrame(hint.page);
    if (hint === undefined || other < 0 || (hint.guest === guest && hint.page === page)) {
      group.hints.set(hash, { guest, page });
    } else if (other !== frame) {
      if (other === hint.guest.reservedFrame?.() || !this.equal(frame, other)) {
        // The other page has changed since, or two texts have one hash.
        this.counters.falseHints++;
        group.hints.set(hash, { guest, page });
      } else {
        hint.guest.memory.protectPage(hint.page);
        memory.mergePage(page, other);
        this.counters.shared++;
      }
    }
    return true;
  }

  /** A page has other bytes than those that a hash stands for. */
  private dropHint({ hints }: Group, hash: number, guest: SharingGuest, page: number): void {
    const hint = hints.get(hash);
    if (hint?.guest === guest && hint.page === page) hints.delete(hash);
  }

  private groupOf({ group: name }: SharingGuest): Group {
    let group = this.groups.get(name);
    if (group === undefined) {
      group = { salt: this.salt() | 0, guests: 0, hints: new Map() };
      this.groups.set(name, group);
    }
    return group;
  }

  private isZero(frame: number): boolean {
    const words = this.frames.memory.i32;
    for (let at = frame / 4; at < frame / 4 + PAGE_WORDS; at++) if (words[at] !== 0) return false;
    return true;
  }

  private equal(a: number, b: number): boolean {
    const words = this.frames.memory.i32;
    const distance = b / 4 - a / 4;
    for (let at = a / 4; at < a / 4 + PAGE_WORDS; at++) if (words[at] !== words[at + distance]) return false;
    return true;
  }
}
