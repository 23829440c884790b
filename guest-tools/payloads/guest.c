/*
 * The bottom of a payload that runs in a guest: entry, ports, and the four functions that compilers call
 * unasked even in freestanding code.
 */
#include "guest-tools/payloads/payload.h"

enum {
	MEMORY_START = 2 << 20, /* payload.ld keeps the image below */
	MEMORY_KEPT = 2 << 20,  /* the loader's, at the end of RAM */
};

void *memcpy(void *to, const void *from, size_t length);
void *memmove(void *to, const void *from, size_t length);
void *memset(void *to, int byte, size_t length);
int memcmp(const void *a, const void *b, size_t length);
__attribute__((noreturn, used)) void guest_start(uint64_t ram_size, const char *arguments);

/* FNINIT and LDMXCSR: floating point does not depend on what the loader left. The call leaves RSP as the ABI wants. */
__asm__(".globl _start\n"
	".type _start, @function\n"
	"_start:\n"
	"	xorl %ebp, %ebp\n"
	"	cld\n"
	"	fninit\n"
	"	ldmxcsr guest_mxcsr(%rip)\n"
	"	call guest_start\n"
	"	.section .rodata\n"
	"	.balign 4\n"
	"guest_mxcsr:\n"
	"	.long 0x1f80\n" /* power-on value: all exceptions masked, round to nearest (SDM volume 1, 10.2.3) */
	"	.text\n");

void port_out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

void port_out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

void port_out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

uint8_t port_in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

uint16_t port_in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

uint32_t port_in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

void port_out8_string(uint16_t port, const void *data, size_t length)
{
	__asm__ volatile("rep outsb" : "+S"(data), "+c"(length) : "d"(port) : "memory");
}

void *memcpy(void *to, const void *from, size_t length)
{
	void *start = to;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
	return start;
}

void *memmove(void *to, const void *from, size_t length)
{
	uint8_t *last;
	const uint8_t *source;

	if ((uintptr_t)to - (uintptr_t)from >= length)
		return memcpy(to, from, length);
	last = (uint8_t *)to + length - 1;
	source = (const uint8_t *)from + length - 1;
	__asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(last), "+S"(source), "+c"(length) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t length)
{
	void *start = to;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(length) : "a"(byte) : "memory");
	return start;
}

int memcmp(const void *a, const void *b, size_t length)
{
	const uint8_t *left = a, *right = b;

	for (size_t i = 0; i < length; i++) {
		if (left[i] != right[i])
			return left[i] - right[i];
	}
	return 0;
}

void guest_start(uint64_t ram_size, const char *arguments)
{
	uint8_t *memory = (uint8_t *)(uintptr_t)MEMORY_START;
	size_t size = ram_size > MEMORY_START + MEMORY_KEPT ? ram_size - MEMORY_START - MEMORY_KEPT : 0;
	uint32_t status = payload_run(arguments, memory, size);

	for (;;)
		port_out32(PORT_END, status);
}
