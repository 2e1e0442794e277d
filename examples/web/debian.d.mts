/**
 * Puts Debian into the built pages: its kernel, its initial file system, and a machine that has booted to its shell.
 * @param dist folder of the built pages
 * @throws DebianError (the promise rejects) where Debian's files are not in the cache and can't be fetched
 */
export function addDebian(dist: string): Promise<void>;
