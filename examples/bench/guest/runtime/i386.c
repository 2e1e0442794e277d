/* A PC as v86 has it: COM1, and a halted processor as the end of the machine. */
#include "i386.h"
#include "bench.h"

#define COM1 0x3f8
#define COM1_LSR (COM1 + 5)
#define LSR_THRE 0x20
#define GATE_USER_INTERRUPT 0xee00
#define TASK_STATE_AVAILABLE 0x89

void put_character(char character) {
  while (!(port_read(COM1_LSR) & LSR_THRE)) {}
  port_write(COM1, (uint8_t)character);
}

_Noreturn void finish(uint32_t status) {
  if (status != 0) print_text("failed\n");
  for (;;) __asm__ volatile("cli\n\thlt");
}

struct task_state {
  uint32_t link, esp0, ss0;
  uint32_t unused[22];
  uint16_t trap, io_map;
};

extern uint8_t task_state_descriptor[8];
static struct task_state task_state;
static uint32_t interrupts[0x81][2];

void set_call_gate(void (*handler)(void), void *stack_top) {
  uint32_t base = (uint32_t)&task_state, size = sizeof task_state - 1, entry = (uint32_t)handler;
  struct { uint16_t limit; uint32_t base; } __attribute__((packed)) table = {sizeof interrupts - 1, (uint32_t)interrupts};
  task_state.esp0 = (uint32_t)stack_top;
  task_state.ss0 = KERNEL_DATA;
  task_state.io_map = sizeof task_state;
  uint8_t descriptor[8] = {size, size >> 8, base, base >> 8, base >> 16, TASK_STATE_AVAILABLE, 0, base >> 24};
  memcpy(task_state_descriptor, descriptor, sizeof descriptor);
  interrupts[0x80][0] = KERNEL_CODE << 16 | (entry & 0xffff);
  interrupts[0x80][1] = (entry & 0xffff0000) | GATE_USER_INTERRUPT;
  __asm__ volatile("lidt %0\n\tltr %w1" : : "m"(table), "r"(TASK_STATE));
}
