/*
 * Reads the flattened device tree (Devicetree Specification 0.4, chapter 5) in one walk before paging is on. A node
 * is judged when it ends, when its own properties and those of the nodes inside it are known; what refers to other
 * nodes (the PLIC's contexts) is resolved after the walk. Everything needed later is copied, so that the tree's
 * memory need not stay mapped.
 */
#include "kernel.h"

#define FDT_MAGIC 0xd00dfeed
enum { FDT_BEGIN_NODE = 1, FDT_END_NODE = 2, FDT_PROP = 3, FDT_NOP = 4, FDT_END = 9 };
#define MAX_DEPTH 8
#define INTERRUPT_SUPERVISOR_EXTERNAL 9

struct cells {
  const uint8_t *data;
  uint32_t bytes;
};

struct node {
  const char *name;
  uint32_t address_cells, size_cells; /* of its children */
  uint32_t intc_phandle; /* of the interrupt controller inside it */
  struct cells compatible, reg, interrupts, interrupts_extended, isa, isa_base, isa_extensions, device_type, status;
};

struct machine machine;
static uint32_t boot_intc_phandle;
static struct cells plic_contexts;

static uint32_t cell(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A number of one or two cells. */
static uint64_t number(const uint8_t *at, uint32_t cells) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < cells; i++) value = value << 32 | cell(at + 4 * i);
  return value;
}

static bool lists(struct cells list, const char *text) {
  size_t length = strlen(text) + 1;
  for (uint32_t at = 0; at + length <= list.bytes; at += strlen((const char *)list.data + at) + 1) {
    if (memcmp(list.data + at, text, length) == 0) return true;
  }
  return false;
}

static bool starts(const char *text, const char *prefix) {
  while (*prefix != 0) {
    if (*text++ != *prefix++) return false;
  }
  return true;
}

/* The first entry of `reg`, cut where a 32-bit guest reaches no further. */
static struct range first_range(const struct node *parent, const struct node *node) {
  uint32_t address = parent->address_cells, size = parent->size_cells;
  if (node->reg.bytes < 4 * (address + size) || node->reg.bytes == 0) return (struct range){0, 0};
  uint64_t start = number(node->reg.data, address), end = start + number(node->reg.data + 4 * address, size);
  uintptr_t last = PAGE_DOWN(UINTPTR_MAX);
  return (struct range){(uintptr_t)start, end < last ? (uintptr_t)end : last};
}

static void reserve(uintptr_t start, uintptr_t end) {
  if (start == end) return;
  if (machine.reserved_count == MAX_RESERVED) panic("the device tree reserves more than %d ranges", MAX_RESERVED);
  machine.reserved[machine.reserved_count++] = (struct range){PAGE_DOWN(start), PAGE_UP(end)};
}

static void append(char *to, size_t size, const char *text) {
  size_t used = strlen(to);
  copy_text(to + used, text, size - used);
}

/* The extensions as one text: the old property is one already, the newer two are a base and a list. */
static void read_isa(const struct node *cpu) {
  if (cpu->isa.bytes > 0) {
    copy_text(machine.isa, (const char *)cpu->isa.data, sizeof machine.isa);
  } else if (cpu->isa_base.bytes > 0) {
    copy_text(machine.isa, (const char *)cpu->isa_base.data, sizeof machine.isa);
    for (uint32_t at = 0; at < cpu->isa_extensions.bytes; at += strlen((const char *)cpu->isa_extensions.data + at) + 1) {
      append(machine.isa, sizeof machine.isa, "_");
      append(machine.isa, sizeof machine.isa, (const char *)cpu->isa_extensions.data + at);
    }
  }
  for (const char *at = machine.isa; *at != 0; at++) {
    if (*at == '_' && starts(at, "_sstc") && (at[5] == '_' || at[5] == 0)) machine.sstc = true;
  }
}

static void end_node(const struct node *stack, unsigned depth) {
  const struct node *node = &stack[depth], *parent = depth > 0 ? &stack[depth - 1] : node;
  if (node->status.bytes > 0 && strcmp((const char *)node->status.data, "disabled") == 0) return;
  if (lists(node->device_type, "memory") && machine.memory.end == 0) {
    machine.memory = first_range(parent, node);
  } else if (lists(node->device_type, "cpu")) {
    machine.harts++;
    if (node->reg.bytes >= 4 && number(node->reg.data, parent->address_cells) == machine.boot_hart) {
      boot_intc_phandle = node->intc_phandle;
      read_isa(node);
    }
  } else if (depth > 0 && starts(parent->name, "reserved-memory")) {
    struct range range = first_range(parent, node);
    reserve(range.start, range.end);
  } else if (lists(node->compatible, "ns16550a") && machine.uart.start == 0) {
    machine.uart = first_range(parent, node);
    if (node->interrupts.bytes >= 4) machine.uart_interrupt = cell(node->interrupts.data);
  } else if (lists(node->compatible, "sifive,plic-1.0.0") || lists(node->compatible, "riscv,plic0")) {
    machine.plic = first_range(parent, node);
    plic_contexts = node->interrupts_extended;
  } else if (lists(node->compatible, "sifive,test0") || lists(node->compatible, "sifive,test1")) {
    machine.finisher = first_range(parent, node);
  }
}

static void property(struct node *stack, unsigned depth, const char *name, struct cells value) {
  struct node *node = &stack[depth];
  static const struct {
    const char *name;
    size_t offset;
  } values[] = {
    {"compatible", offsetof(struct node, compatible)},
    {"reg", offsetof(struct node, reg)},
    {"interrupts", offsetof(struct node, interrupts)},
    {"interrupts-extended", offsetof(struct node, interrupts_extended)},
    {"riscv,isa", offsetof(struct node, isa)},
    {"riscv,isa-base", offsetof(struct node, isa_base)},
    {"riscv,isa-extensions", offsetof(struct node, isa_extensions)},
    {"device_type", offsetof(struct node, device_type)},
    {"status", offsetof(struct node, status)},
  };
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    if (strcmp(name, values[i].name) == 0) *(struct cells *)((char *)node + values[i].offset) = value;
  }
  if (strcmp(name, "model") == 0 && depth == 0) copy_text(machine.model, (const char *)value.data, sizeof machine.model);
  if (value.bytes < 4) return;
  if (strcmp(name, "#address-cells") == 0) node->address_cells = cell(value.data);
  else if (strcmp(name, "#size-cells") == 0) node->size_cells = cell(value.data);
  else if (strcmp(name, "phandle") == 0) {
    if (depth > 0 && starts(node->name, "interrupt-controller")) stack[depth - 1].intc_phandle = cell(value.data);
  } else if (strcmp(name, "timebase-frequency") == 0) {
    machine.timebase = cell(value.data + value.bytes - 4);
  }
}

static void walk(const uint8_t *at, const uint8_t *strings) {
  static struct node stack[MAX_DEPTH];
  unsigned depth = 0; /* of the node that is open, counted from 1; deeper ones than the stack are passed over */
  for (;;) {
    unsigned token = cell(at);
    at += 4;
    if (token == FDT_BEGIN_NODE) {
      const char *name = (const char *)at;
      at += (strlen(name) + 4) & ~3ul;
      if (depth < MAX_DEPTH) stack[depth] = (struct node){.name = name, .address_cells = 2, .size_cells = 1};
      depth++;
    } else if (token == FDT_PROP) {
      struct cells value = {at + 8, cell(at)};
      const char *name = (const char *)strings + cell(at + 4);
      at += 8 + ((value.bytes + 3) & ~3u);
      if (depth > 0 && depth <= MAX_DEPTH) property(stack, depth - 1, name, value);
    } else if (token == FDT_END_NODE) {
      depth--;
      if (depth < MAX_DEPTH) end_node(stack, depth);
    } else if (token == FDT_END) {
      return;
    } else if (token != FDT_NOP) {
      panic("the device tree holds an unknown token %x", token);
    }
  }
}

/* The PLIC's contexts are pairs of a hart's interrupt controller and one of its interrupts, in context order. */
static bool find_plic_context(void) {
  for (uint32_t i = 0; 8 * i + 8 <= plic_contexts.bytes; i++) {
    const uint8_t *pair = plic_contexts.data + 8 * i;
    if (cell(pair) == boot_intc_phandle && cell(pair + 4) == INTERRUPT_SUPERVISOR_EXTERNAL) {
      machine.plic_context = i;
      return true;
    }
  }
  return false;
}

void fdt_read(const void *blob, unsigned boot_hart) {
  const uint8_t *header = blob;
  machine.boot_hart = boot_hart;
  if (header == 0 || cell(header) != FDT_MAGIC) panic("no device tree at %p: firmware passes its address in a1", blob);
  reserve((uintptr_t)header, (uintptr_t)header + cell(header + 4));
  for (const uint8_t *entry = header + cell(header + 16); number(entry + 8, 2) != 0; entry += 16) {
    uintptr_t start = (uintptr_t)number(entry, 2);
    reserve(start, start + (uintptr_t)number(entry + 8, 2));
  }
  walk(header + cell(header + 8), header + cell(header + 12));
  if (!find_plic_context()) machine.plic.start = 0;
  if (machine.memory.end == 0) panic("the device tree names no memory");
  if (machine.timebase == 0) panic("the device tree names no timebase-frequency");
}
