/** What is being done with projects and VMs at this moment, so that who waits for it can be told what it is. */

/** Something that is being done. */
export interface Activity {
  /** Since when, in milliseconds since 1970. */
  readonly at: number;
  readonly project: string;
  /** The VM that it is done with; missing where it is the project as a whole. */
  readonly vm?: string;
  /** Such as `snapshot`, or `provisioning: "make"`. */
  readonly what: string;
}

/** What is being done. */
export class Activities {
  private readonly all = new Set<Activity>();

  /** Does something of which others can be told while it lasts. */
  async during<Result>(
    of: { readonly project: string; readonly vm?: string },
    what: string,
    work: () => Result | Promise<Result>,
  ): Promise<Result> {
    const activity = { at: Date.now(), ...of, what };
    this.all.add(activity);
    try {
      return await work();
    } finally {
      this.all.delete(activity);
    }
  }

  /** All of it, the oldest first. */
  list(): Activity[] {
    return [...this.all];
  }
}
