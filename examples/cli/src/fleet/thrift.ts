/** How a daemon's process deals with memory. */

/**
 * What the C library (glibc, mallopt(3)) does with memory that the daemon's threads gave up: it is the host's again. By
 * default each thread's share is kept for the next one: 20 to 30 MB of a daemon whose VMs are gone, and about
 * half of what one takes where threads come and go all the time. A service that runs `hyperfile daemon` sets them itself.
 */
export const thrift = {
  MALLOC_ARENA_MAX: "2",
  MALLOC_TRIM_THRESHOLD_: "131072",
  MALLOC_MMAP_THRESHOLD_: "131072",
};
