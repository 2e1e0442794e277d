/* Segment selectors of the descriptor table in start-i386.S, and access to ports and control registers. */
#ifndef I386_H
#define I386_H

#define KERNEL_CODE 0x08
#define KERNEL_DATA 0x10
#define USER_CODE 0x1b
#define USER_DATA 0x23
#define TASK_STATE 0x28

#ifndef __ASSEMBLER__
#include <stdint.h>

static inline void port_write(uint16_t port, uint8_t value) {
  __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

/* Lets int 0x80 from ring 3 come to `handler` on the kernel stack that ends at `stack_top`. */
void set_call_gate(void (*handler)(void), void *stack_top);

static inline void flush_page(uintptr_t va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }

static inline void set_page_directory(uintptr_t address) {
  __asm__ volatile("movl %0, %%cr3" : : "r"(address) : "memory");
}

static inline void flush_all(void) {
  uintptr_t directory;
  __asm__ volatile("movl %%cr3, %0\n\tmovl %0, %%cr3" : "=r"(directory) : : "memory");
}

/* Turns paging on, with 4 MiB pages allowed. */
static inline void enable_paging(uintptr_t directory) {
  uintptr_t value;
  set_page_directory(directory);
  __asm__ volatile("movl %%cr4, %0\n\torl $0x10, %0\n\tmovl %0, %%cr4" : "=r"(value));
  __asm__ volatile("movl %%cr0, %0\n\torl $0x80000000, %0\n\tmovl %0, %%cr0" : "=r"(value) : : "memory");
}
#endif

#endif
