/** What may go to a card that a limit holds back: bytes of its turns, which somebody else gives. */

/** What holds frames to a card back. */
export interface ReceiveGate {
  /** Whether nothing does. */
  isFree(): boolean;
  /** A frame of so many bytes waits for a turn. */
  wait(bytes: number): void;
}

/** The credit of one card. */
export class ReceiveCredit {
  private left = 0;

  constructor(private readonly gate: ReceiveGate) {}

  /** Whether a frame may go now, and counts it; if not, a turn is asked for. The last frame of a turn may be longer than it. */
  take(bytes: number): boolean {
    if (this.gate.isFree()) return true;
    if (this.left > 0) {
      this.left -= bytes;
      return true;
    }
    this.gate.wait(bytes);
    return false;
  }

  /** A frame that was counted did not go. */
  giveBack(bytes: number): void {
    if (!this.gate.isFree()) this.left += bytes;
  }

  /** Has a turn of so many bytes, while `deliver` lets go what waits. What is left over is lost. */
  spend(bytes: number, deliver: () => void): void {
    this.left = bytes;
    deliver();
    this.left = 0;
  }
}
