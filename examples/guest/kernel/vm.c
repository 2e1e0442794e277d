/*
 * Address spaces (privileged specification, chapter "Supervisor-Level ISA"): Sv39, or Sv32 in the 32-bit kernel.
 *
 * The kernel maps memory and its devices at their physical addresses. Identity keeps one address for a page in every
 * part of the kernel, needs no trampoline when paging goes on, and leaves the second gigabyte for processes in both
 * Sv39 and Sv32. The kernel's own text and constants are mapped without W, everything else without X. These global
 * mappings are made once; a process's root table copies their entries.
 *
 * Process memory comes in on demand: heap and stack pages at their first touch, and after a fork pages are shared
 * until someone writes. A and D are set beforehand, so no implementation has to raise a fault for them.
 */
#include "kernel.h"

#if __riscv_xlen == 64
#define LEVELS 3
#define INDEX_BITS 9
#define SATP_MODE (8ul << 60)
#define ASID_SHIFT 44
const char vm_mode[] = "Sv39";
#else
#define LEVELS 2
#define INDEX_BITS 10
#define SATP_MODE (1ul << 31)
#define ASID_SHIFT 22
const char vm_mode[] = "Sv32";
#endif
#define ENTRIES (1u << INDEX_BITS)
#define LEVEL_SHIFT(level) (12 + INDEX_BITS * (level))
#define LEAF (PTE_R | PTE_W | PTE_X)

extern char text_start[], text_end[], rodata_end[], kernel_end[];

uint64_t vm_zero_pages, vm_copied_pages;
static pte_t *kernel_root;
static bool has_asids;
static struct process *active;

static pte_t make_pte(const void *page, pte_t flags) {
  return (uintptr_t)page >> 12 << 10 | flags;
}

static void *pte_page(pte_t pte) {
  return (void *)(uintptr_t)((pte << (sizeof(pte_t) == 8 ? 10 : 0)) >> (sizeof(pte_t) == 8 ? 20 : 10) << 12);
}

static void *zero_page(void) {
  void *page = page_allocate();
  if (page != 0) memset(page, 0, PAGE_BYTES);
  return page;
}

/* The entry for an address at a level, with the tables above it made where `create` says so; 0 if there is none. */
static pte_t *walk(pte_t *table, uintptr_t va, int level, bool create) {
  for (int at = LEVELS - 1; at > level; at--) {
    pte_t *entry = &table[va >> LEVEL_SHIFT(at) & (ENTRIES - 1)];
    if ((*entry & PTE_V) == 0) {
      pte_t *next = create ? zero_page() : 0;
      if (next == 0) return 0;
      *entry = make_pte(next, PTE_V);
    }
    table = pte_page(*entry);
  }
  return &table[va >> LEVEL_SHIFT(level) & (ENTRIES - 1)];
}

/* Whether a leaf of that level can begin a range. */
static bool is_leaf_range(uintptr_t start, uintptr_t end, int level) {
  uintptr_t bytes = 1ul << LEVEL_SHIFT(level);
  return (start & (bytes - 1)) == 0 && end - start >= bytes;
}

/* Maps a range to itself in the largest leaves that fit. */
static void map_kernel(uintptr_t start, uintptr_t end, pte_t flags) {
  while (start < end) {
    int level = LEVELS - 1;
    while (level > 0 && !is_leaf_range(start, end, level)) level--;
    pte_t *entry = walk(kernel_root, start, level, true);
    if (entry == 0) panic("no memory for the kernel's page tables");
    *entry = make_pte((void *)start, flags | PTE_V | PTE_G | PTE_A | PTE_D);
    start += 1ul << LEVEL_SHIFT(level);
  }
}

static void map_device(struct range range) {
  if (range.start != 0) map_kernel(PAGE_DOWN(range.start), PAGE_UP(range.end), PTE_R | PTE_W);
}

/* Whether the hart has enough address-space identifiers to give every process slot its own. */
static void find_asids(void) {
  unsigned long satp = read_csr(satp);
  write_csr(satp, satp | (unsigned long)(2 * MAX_PROCESSES - 1) << ASID_SHIFT);
  has_asids = (read_csr(satp) >> ASID_SHIFT & (2 * MAX_PROCESSES - 1)) == 2 * MAX_PROCESSES - 1;
  write_csr(satp, satp);
}

void vm_init(void) {
  kernel_root = zero_page();
  if (kernel_root == 0) panic("no memory for the kernel's page tables");
  map_kernel((uintptr_t)text_start, (uintptr_t)text_end, PTE_R | PTE_X);
  map_kernel((uintptr_t)text_end, (uintptr_t)rodata_end, PTE_R);
  map_kernel((uintptr_t)rodata_end, PAGE_DOWN(machine.memory.end), PTE_R | PTE_W);
  map_device(machine.uart);
  map_device(machine.plic);
  map_device(machine.finisher);
  write_csr(satp, SATP_MODE | (uintptr_t)kernel_root >> 12);
  __asm__ volatile("sfence.vma" ::: "memory");
  if ((read_csr(satp) & SATP_MODE) != SATP_MODE) panic("this hart has no %s", vm_mode);
  find_asids();
  __asm__ volatile("sfence.vma" ::: "memory");
}

pte_t *vm_create(void) {
  pte_t *root = page_allocate();
  if (root != 0) memcpy(root, kernel_root, PAGE_BYTES);
  return root;
}

static unsigned long asid_of(struct process *process) {
  return has_asids ? (unsigned long)(process - processes) + 1 : 0;
}

static void flush(struct process *process, uintptr_t va) {
  __asm__ volatile("sfence.vma %0, %1" ::"r"(va), "r"(asid_of(process)) : "memory");
}

static void flush_all(struct process *process) {
  __asm__ volatile("sfence.vma zero, %0" ::"r"(asid_of(process)) : "memory");
}

void vm_activate(struct process *process) {
  if (active == process) return;
  active = process;
  write_csr(satp, SATP_MODE | asid_of(process) << ASID_SHIFT | (uintptr_t)process->root >> 12);
  if (!has_asids) flush_all(process);
}

/* Releases the pages and tables of [start, end) below a table of the given level, which maps from `base` on. */
static void release(struct process *process, pte_t *table, int level, uintptr_t base, uintptr_t start, uintptr_t end) {
  for (unsigned i = 0; i < ENTRIES; i++) {
    uintptr_t va = base + ((uintptr_t)i << LEVEL_SHIFT(level));
    if (va >= end) return;
    if (va + (1ul << LEVEL_SHIFT(level)) <= start || (table[i] & PTE_V) == 0) continue;
    void *page = pte_page(table[i]);
    if (level > 0) {
      release(process, page, level - 1, va, start, end);
      if (va < start || va + (1ul << LEVEL_SHIFT(level)) > end) continue;
    } else {
      process->pages--;
    }
    page_release(page);
    table[i] = 0;
  }
}

void vm_unmap(struct process *process, uintptr_t start, uintptr_t end) {
  release(process, process->root, LEVELS - 1, 0, start, end);
  flush_all(process);
}

void vm_destroy(struct process *process) {
  if (active == process) {
    write_csr(satp, SATP_MODE | (uintptr_t)kernel_root >> 12);
    active = 0;
  }
  vm_unmap(process, USER_START, USER_END);
  page_release(process->root);
  process->root = 0;
}

static bool map(struct process *process, uintptr_t va, void *page, pte_t flags) {
  pte_t *entry = walk(process->root, va, 0, true);
  if (entry == 0) return false;
  *entry = make_pte(page, flags | PTE_V | PTE_U | PTE_A | PTE_D);
  process->pages++;
  return true;
}

bool vm_map(struct process *process, uintptr_t va, void *page, pte_t flags) {
  bool done = map(process, va, page, flags);
  flush(process, va);
  return done;
}

static bool fork_table(struct process *child, pte_t *table, int level, uintptr_t base) {
  for (unsigned i = 0; i < ENTRIES; i++) {
    uintptr_t va = base + ((uintptr_t)i << LEVEL_SHIFT(level));
    if (va >= USER_END) break;
    if (va + (1ul << LEVEL_SHIFT(level)) <= USER_START || (table[i] & PTE_V) == 0) continue;
    if (level > 0) {
      if (!fork_table(child, pte_page(table[i]), level - 1, va)) return false;
      continue;
    }
    if ((table[i] & PTE_W) != 0) table[i] = (table[i] & ~PTE_W) | PTE_COPY;
    if (!map(child, va, pte_page(table[i]), table[i] & (LEAF | PTE_COPY))) return false;
    page_share(pte_page(table[i]));
  }
  return true;
}

bool vm_fork(struct process *parent, struct process *child) {
  bool done = fork_table(child, parent->root, LEVELS - 1, 0);
  flush_all(parent);
  flush_all(child);
  return done;
}

static bool is_on_demand(struct process *process, uintptr_t va) {
  bool heap = va >= process->heap_start && va < PAGE_UP(process->heap_end);
  bool stack = va >= STACK_TOP - STACK_BYTES && va < STACK_TOP;
  return heap || stack;
}

/* Ends the sharing of a page: its last user keeps it, any other gets a copy. */
static enum fault_result unshare(struct process *process, uintptr_t va, pte_t *entry) {
  void *page = pte_page(*entry);
  pte_t flags = (*entry & 0x3fful & ~PTE_COPY) | PTE_W;
  if (page_users(page) > 1) {
    void *copy = page_allocate();
    if (copy == 0) return FAULT_NO_MEMORY;
    memcpy(copy, page, PAGE_BYTES);
    page_release(page);
    page = copy;
    vm_copied_pages++;
    if ((flags & PTE_X) != 0) __asm__ volatile("fence.i" ::: "memory");
  }
  *entry = make_pte(page, flags);
  flush(process, va);
  return FAULT_RESOLVED;
}

enum fault_result vm_fault(struct process *process, uintptr_t va, enum access access) {
  va = PAGE_DOWN(va);
  if (va < USER_START || va >= USER_END) return FAULT_INVALID;
  pte_t *entry = walk(process->root, va, 0, false);
  if (entry != 0 && (*entry & PTE_V) != 0) {
    bool copies = access == ACCESS_WRITE && (*entry & PTE_COPY) != 0;
    return copies ? unshare(process, va, entry) : FAULT_INVALID;
  }
  if (access == ACCESS_EXECUTE || !is_on_demand(process, va)) return FAULT_INVALID;
  void *page = zero_page();
  if (page == 0) return FAULT_NO_MEMORY;
  if (!vm_map(process, va, page, PTE_R | PTE_W)) {
    page_release(page);
    return FAULT_NO_MEMORY;
  }
  vm_zero_pages++;
  return FAULT_RESOLVED;
}

/* The user page at an address, made present and, for writing, unshared; 0 if the process may not access it so. */
static pte_t *resolve(struct process *process, uintptr_t va, enum access access) {
  pte_t needed = access == ACCESS_WRITE ? PTE_W : PTE_R;
  for (int attempt = 0; attempt < 2; attempt++) {
    if (va < USER_START || va >= USER_END) return 0;
    pte_t *entry = walk(process->root, va, 0, false);
    if (entry != 0 && (*entry & PTE_V) != 0 && (*entry & needed) != 0) return entry;
    if (vm_fault(process, va, access) != FAULT_RESOLVED) return 0;
  }
  return 0;
}

bool vm_protect(struct process *process, uintptr_t va, size_t bytes, unsigned flags) {
  if (bytes > USER_END - USER_START) return false;
  for (uintptr_t at = PAGE_DOWN(va); at < va + bytes; at += PAGE_BYTES) {
    pte_t *entry = resolve(process, at, ACCESS_READ);
    if (entry == 0) return false;
    pte_t pte = *entry & ~(PTE_W | PTE_X | PTE_COPY);
    if ((flags & PROTECT_EXECUTE) != 0) pte |= PTE_X;
    if ((flags & PROTECT_WRITE) != 0) pte |= page_users(pte_page(pte)) > 1 ? PTE_COPY : PTE_W;
    *entry = pte;
    flush(process, at);
  }
  return true;
}

/* Copies to or from a process, page by page through its tables: the kernel never uses a process's addresses. */
static bool copy(struct process *process, uintptr_t va, char *kernel, size_t bytes, enum access access) {
  while (bytes > 0) {
    pte_t *entry = resolve(process, va, access);
    if (entry == 0) return false;
    size_t offset = va & (PAGE_BYTES - 1), part = PAGE_BYTES - offset;
    if (part > bytes) part = bytes;
    char *user = (char *)pte_page(*entry) + offset;
    if (access == ACCESS_WRITE) memcpy(user, kernel, part);
    else memcpy(kernel, user, part);
    va += part;
    kernel += part;
    bytes -= part;
  }
  return true;
}

bool vm_copy_in(struct process *process, void *to, uintptr_t va, size_t bytes) {
  return copy(process, va, to, bytes, ACCESS_READ);
}

bool vm_copy_out(struct process *process, uintptr_t va, const void *from, size_t bytes) {
  return copy(process, va, (char *)from, bytes, ACCESS_WRITE);
}
