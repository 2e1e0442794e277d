/** What an experiment requires, and whether that is met: a table at its end. */

interface Requirement {
  readonly what: string;
  readonly figure: string;
  readonly pass: boolean;
}

const line = ({ what, figure, pass }: Requirement, width = 0): string =>
  `${pass ? "PASS" : "FAIL"}  ${what.padEnd(width)}  ${figure}`;

/** The requirements of one experiment. */
export class Requirements {
  private readonly all: Requirement[] = [];

  /** @param isShown whether each is printed when it is noted, too: they may come minutes apart */
  constructor(private readonly isShown = false) {}

  /** Notes a requirement, what was found, and whether it is met. */
  note(what: string, figure: string, pass: boolean): void {
    const requirement = { what, figure, pass };
    this.all.push(requirement);
    if (this.isShown) console.log(line(requirement));
  }

  /** Notes that a figure must be less than a limit. */
  noteBelow(what: string, figure: number, limit: number, unit: string): void {
    this.note(`${what}: less than ${limit} ${unit}`, `${figure.toFixed(1)} ${unit}`, figure < limit);
  }

  /** Prints all of them; the process ends with status 1 if one is not met, or there are none. */
  conclude(): void {
    console.log();
    const width = Math.max(0, ...this.all.map(({ what }) => what.length));
    for (const requirement of this.all) console.log(line(requirement, width));
    const failed = this.all.filter(({ pass }) => !pass).length;
    if (this.all.length === 0)
      console.log("no requirement was looked at: the guests that it needs are missing");
    else if (failed === 0) console.log(`all ${this.all.length} requirements are met`);
    else console.log(`${failed} of ${this.all.length} are not met`);
    if (failed > 0 || this.all.length === 0) process.exitCode = 1;
  }
}
