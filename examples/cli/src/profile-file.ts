/**
 * The profile of a run as a file of JSON. The running VM writes it anew every second, whole and under its name only
 * when complete, so that a reader at any time finds one that can be parsed.
 */

import { renameSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fileErrorReason, readRegularFile } from "@hyperfile/broker/host";
import type { ProfileReport } from "@hyperfile/jit/trace";
import { CliError, systemErrorCode } from "./errors.js";
import { requireRegular } from "./output-file.js";

/** The profile of a run. */
export interface Profile {
  /** Tells a profile from other JSON. */
  readonly format: "hyperfile-profile";
  readonly version: 1;
  /** What ran, by the name of its file. */
  readonly program: string;
  /** The process that runs it, and whether it still does. */
  readonly pid: number;
  readonly state: "running" | "ended";
  /** Milliseconds between profiles, to know how long one is fresh. */
  readonly interval: number;
  /** The samples. */
  readonly report: ProfileReport;
  /** Counters, as `--stats` has them. */
  readonly statistics: Record<string, unknown>;
}

/** Bytes of a file that is taken for a profile. */
const MOST_BYTES = 2 ** 28;
/** Milliseconds between two profiles of a run. */
export const PROFILE_INTERVAL = 1000;

/** Where a process keeps its profile unless told otherwise. */
export const profileOfProcess = (pid: number): string => join(tmpdir(), `hyperfile-${pid}.profile.json`);

/**
 * Refuses a name for a profile before there is one.
 * @throws CliError `E_PROFILE`
 */
export function requireProfilePlace(name: string): void {
  try {
    requireRegular(name);
  } catch (error) {
    throw unwritable(name, error);
  }
}

/**
 * Writes a profile.
 * @throws CliError `E_PROFILE` if it can't
 */
export function writeProfile(name: string, profile: Profile): void {
  const partial = `${name}.${process.pid}.partial`;
  const text = `${JSON.stringify(profile)}\n`;
  try {
    requireRegular(name);
    removeIfThere(partial);
    // A new file of our own: nobody can have put a link in its place.
    writeFileSync(partial, text, { flag: "wx", mode: 0o600 });
    renameSync(partial, name);
  } catch (error) {
    removeIfThere(partial);
    throw unwritable(name, error);
  }
}

const unwritable = (name: string, cause: unknown): CliError =>
  new CliError("E_PROFILE", `can't write the profile to ${name}: ${fileErrorReason(cause)}`, { cause });

function removeIfThere(name: string): void {
  try {
    unlinkSync(name);
  } catch (error) {
    if (!["ENOENT", "ENOTDIR", "EISDIR"].includes(systemErrorCode(error) ?? "")) throw error;
  }
}

/**
 * Reads a profile.
 * @throws CliError `E_PROFILE` (the promise rejects) if there is none, or the file is something else
 */
export async function readProfile(name: string): Promise<Profile> {
  let text: string;
  try {
    text = new TextDecoder().decode(await readRegularFile(name, MOST_BYTES));
  } catch (error) {
    throw new CliError(
      "E_PROFILE",
      `can't read the profile ${name}: ${fileErrorReason(error)}; hyperfile run --profile writes one`,
      { cause: error },
    );
  }
  let profile: Partial<Profile> | null;
  try {
    profile = JSON.parse(text) as Partial<Profile> | null;
  } catch (error) {
    throw new CliError("E_PROFILE", `${name} is no profile: it is not JSON`, { cause: error });
  }
  if (typeof profile !== "object" || profile?.format !== "hyperfile-profile" || !isReport(profile.report)) {
    throw new CliError("E_PROFILE", `${name} is no profile: hyperfile run --profile=${name} would write one`);
  }
  if (profile.version !== 1) {
    throw new CliError(
      "E_PROFILE",
      `${name} is a profile of version ${profile.version}; this program knows 1`,
    );
  }
  return profile as Profile;
}

const isReport = (report: unknown): boolean =>
  typeof report === "object" &&
  report !== null &&
  "units" in report &&
  Array.isArray(report.units) &&
  "tiers" in report;

/** Whether a process is there. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return systemErrorCode(error) === "EPERM";
  }
}
