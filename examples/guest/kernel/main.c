/* The order in which the machine comes up, from firmware's hand-over to the first process. */
#include "kernel.h"

void kernel_main(unsigned long hart, const void *device_tree) {
  write_csr(sscratch, 0);
  write_csr(stvec, trap_entry);
  write_csr(scounteren, 7); /* cycle, time and instret for U-mode */
  sbi_init();
  fdt_read(device_tree, (unsigned)hart);
  timer_init();
  page_init();
  vm_init();
  plic_init();
  console_init();
  kprintf("Hyperfile guest: RV%d %s, %u MiB, %u hart%s, console %s, timer %s\n", __riscv_xlen, vm_mode,
          (unsigned)((machine.memory.end - machine.memory.start) >> 20), machine.harts, machine.harts == 1 ? "" : "s",
          console_name(), timer_name());
  process_start_first();
  process_schedule();
  vm_activate(current);
  trap_return(&current->frame);
}
