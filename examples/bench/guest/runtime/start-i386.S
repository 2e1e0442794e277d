/* A multiboot kernel (Multiboot specification 0.6.96): flat segments, SSE2 on, stack, cleared .bss. */
#include "i386.h"

#define MULTIBOOT_MAGIC 0x1badb002

    .section .text.entry, "ax"
    .balign 4
    .long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC
    .globl _start
_start:
    cli
    lgdt descriptor_pointer
    ljmp $KERNEL_CODE, $1f
1:  movw $KERNEL_DATA, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movw %ax, %ss
    movl $stack_top, %esp
    movl %cr0, %eax
    andl $~4, %eax              /* CR0.EM off, CR0.MP on, CR4.OSFXSR and OSXMMEXCPT on: SSE2 */
    orl $2, %eax
    movl %eax, %cr0
    movl %cr4, %eax
    orl $0x600, %eax
    movl %eax, %cr4
    fninit
    cld
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    shrl $2, %ecx
    xorl %eax, %eax
    rep stosl
    call run_program

    .data
    .balign 8
descriptors:
    .quad 0
    .quad 0x00cf9a000000ffff    /* ring 0 code */
    .quad 0x00cf92000000ffff    /* ring 0 data */
    .quad 0x00cffa000000ffff    /* ring 3 code */
    .quad 0x00cff2000000ffff    /* ring 3 data */
    .globl task_state_descriptor
task_state_descriptor:
    .quad 0
descriptor_pointer:
    .word descriptor_pointer - descriptors - 1
    .long descriptors

    .section .noinit, "aw", @nobits
    .balign 16
    .skip 65536
stack_top:
    .section .note.GNU-stack, "", @progbits
