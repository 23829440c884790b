/*
 * A guest for faults that keep a replica inside it, or let it out too early: turns of a little work, an exit and a
 * character. The word `more` is how much work there is before a turn, and what is wrong in the end if it was
 * flipped; a bit that is high enough makes a turn that never ends.
 *
 * Built by tests/payload/recover, with guest-tools/payloads/payload.ld; what the loader promises stands in
 * guest-tools/payloads/payload.h. TURNS and MORE are given on the command line.
 */
	.equ PORT_LATCH, 0x80
	.equ PORT_END, 0xf4
	.equ PORT_UART_DATA, 0x3f8
	.equ LETTERS, 26
	.equ TURNS_PER_LETTER, 64

	.globl _start
	.globl more
	.type _start, @function
	.text
_start:
	xorl %ebx, %ebx
turn:
	movq more(%rip), %rcx
work:
	testq %rcx, %rcx
	jz done
	decq %rcx
	jmp work
done:
	movl %ebx, %eax
	outb %al, $PORT_LATCH
	testl $(TURNS_PER_LETTER - 1), %ebx
	jnz next
	/* Which letter also depends on whether there was as much work as there should be. */
	movl %ebx, %eax
	shrl $6, %eax
	xorl %edx, %edx
	movl $LETTERS, %ecx
	divl %ecx
	leal 'a'(%rdx), %eax
	movabsq $MORE, %rcx
	cmpq %rcx, more(%rip)
	je right
	movl $'!', %eax
right:
	movw $PORT_UART_DATA, %dx
	outb %al, %dx
next:
	incl %ebx
	cmpl $TURNS, %ebx
	jne turn
	xorl %eax, %eax
	outl %eax, $PORT_END
	jmp next

	.data
	.balign 8
more:
	.quad MORE
	.section .note.GNU-stack, "", @progbits
