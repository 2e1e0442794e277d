/*
 * Physical pages. Memory after the kernel is cut into free runs between the ranges that the device tree reserves.
 * Pages are taken from the runs in order and return to a list, so that a page which nothing asked for is never
 * touched: the cost of booting does not grow with memory, and an overcommitting host need not supply it.
 */
#include "kernel.h"

extern char kernel_end[];

struct free_page {
  struct free_page *next;
};

static struct range runs[MAX_RESERVED + 1];
static unsigned run_count, run_at;
static struct free_page *released;
static size_t total, available;
static uint16_t *users; /* of each page of memory, by its distance from the start; set when a page is allocated */

static void add_run(uintptr_t start, uintptr_t end) {
  if (start < end) runs[run_count++] = (struct range){start, end};
}

/* Takes the table of users out of the first run that holds it. */
static void place_users(size_t bytes) {
  for (unsigned i = 0; i < run_count; i++) {
    if (runs[i].end - runs[i].start >= bytes) {
      users = (uint16_t *)runs[i].start;
      runs[i].start += bytes;
      return;
    }
  }
  panic("%u KiB of memory are not enough", (unsigned)((machine.memory.end - machine.memory.start) >> 10));
}

void page_init(void) {
  struct range *reserved = machine.reserved;
  for (unsigned i = 1; i < machine.reserved_count; i++) {
    for (unsigned j = i; j > 0 && reserved[j].start < reserved[j - 1].start; j--) {
      struct range lower = reserved[j];
      reserved[j] = reserved[j - 1];
      reserved[j - 1] = lower;
    }
  }
  uintptr_t at = PAGE_UP(kernel_end), end = PAGE_DOWN(machine.memory.end);
  for (unsigned i = 0; i < machine.reserved_count && reserved[i].start < end; i++) {
    add_run(at, reserved[i].start);
    if (reserved[i].end > at) at = reserved[i].end;
  }
  add_run(at, end);
  place_users(PAGE_UP((end - machine.memory.start) / PAGE_BYTES * sizeof users[0]));
  for (unsigned i = 0; i < run_count; i++) total += (runs[i].end - runs[i].start) / PAGE_BYTES;
  available = total;
}

static uint16_t *users_of(void *page) {
  return &users[((uintptr_t)page - machine.memory.start) / PAGE_BYTES];
}

void *page_allocate(void) {
  void *page = released;
  if (page != 0) {
    released = released->next;
  } else {
    while (run_at < run_count && runs[run_at].start == runs[run_at].end) run_at++;
    if (run_at == run_count) return 0;
    page = (void *)runs[run_at].start;
    runs[run_at].start += PAGE_BYTES;
  }
  *users_of(page) = 1;
  available--;
  return page;
}

void page_share(void *page) {
  ++*users_of(page);
}

void page_release(void *page) {
  if (--*users_of(page) > 0) return;
  struct free_page *free = page;
  free->next = released;
  released = free;
  available++;
}

unsigned page_users(void *page) {
  return *users_of(page);
}

size_t page_total(void) {
  return total;
}

size_t page_free(void) {
  return available;
}
