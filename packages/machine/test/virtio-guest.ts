/** What bare-metal guests in assembly do with a virtio-mmio device (virtio 1.2, section 4.2.2) in slot 0: its base is in s0. */

/** Writes a register of the device; uses t0. */
export const register = (offset: number, value: number): string => `
        li   t0, ${value}
        sw   t0, ${offset}(s0)`;

/** Writes the registers of an address that lies so many bytes behind s1, in the first 4 GiB; uses t0. */
export const ring = (offset: number, place: number): string => `
        addi t0, s1, ${place}
        sw   t0, ${offset}(s0)
        sw   zero, ${offset + 4}(s0)`;

/** Lets the device's interrupt, source 1 of the PLIC, wake the hart from `wfi`; uses t0 and t1. */
export const interrupts = `
        li   t0, 0xc000004      # priority of source 1
        li   t1, 1
        sw   t1, 0(t0)
        li   t0, 0xc002000      # its enable bit
        li   t1, 2
        sw   t1, 0(t0)
        li   t0, 0x800
        csrw mie, t0`;

/** Takes and completes the device's interrupt; uses t0 and t1. */
export const acknowledge = `
        lw   t1, 0x60(s0)
        sw   t1, 0x64(s0)
        li   t0, 0xc200004
        lw   t1, 0(t0)
        sw   t1, 0(t0)`;
