/*
 * Payloads: the smallest guests. A payload is a freestanding static ELF64 that runs in ring 3 with all I/O ports
 * open and no kernel below it. The same sources are built as ordinary programs (native.c), which gives the right
 * result from outside of any virtual machine.
 *
 * What the loader promises (vmm/boot_payload.c keeps its side):
 *   entry      `_start` in long mode, CPL 3, IOPL 3, interrupts off, no IDT; RDI = bytes of RAM from address 0,
 *              RSI = argument string in RAM, ended by NUL; RSP = top of a stack of 64 KiB at least, 16-byte aligned
 *   memory     all RAM identity mapped, writable and executable; the image is loaded at 1 MiB and ends below 2 MiB
 *              (payload.ld); the 2 MiB at the end of RAM belong to the loader (stack, arguments, page tables)
 *   processor  SSE2 is usable; no AVX, no system calls, no CPUID, RDTSC or HLT
 *   ports      0x3F8 UART data, 0x3FD UART line status; 0x80 one-byte latch that reads as it was written;
 *              0x608 PM timer (32-bit read, 3,579,545 Hz: ACPI specification 6.5, section 4.8.3.3);
 *              0xF4 end: a 32-bit write of the status, 0 = good
 * What a payload promises: its console output is a function of its arguments and of the size of RAM alone. The
 * PM timer is looked at, but never reaches the output.
 *
 * Arguments are separated by spaces:
 *   scale=N   amount of work; 100 (the default) is about 2 s on a present-day core, 1 about 20 ms
 *   seed=N    start of the random numbers (default 1)
 *   step=N    about so many microseconds of work between two exits of the working phases (default 200); 0: no
 *             exits but those that the work itself is made of. Does not change the result
 *   bytes=N   `output`: length of its text; `disk`: what it writes and reads (default 1048576)
 *   rate=N    `dirty`: pages that it writes in a second of its work (default 1000); no other payload takes it
 * The first line of output is the name with the arguments as understood, the last "checksum " and 16 hex digits.
 */
#ifndef TERCET_PAYLOADS_PAYLOAD_H
#define TERCET_PAYLOADS_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum payload_port {
	PORT_LATCH = 0x80,
	PORT_END = 0xF4,
	PORT_UART_DATA = 0x3F8,
	PORT_UART_STATUS = 0x3FD,
	PORT_PM_TIMER = 0x608,
};

/* What a payload ends with. */
enum payload_status {
	PAYLOAD_GOOD = 0,
	PAYLOAD_WRONG = 1,     /* a check of its own failed */
	PAYLOAD_ARGUMENTS = 2, /* arguments that cannot be understood, or too little memory */
};

struct payload {
	uint64_t scale;
	uint64_t seed;
	uint64_t step;       /* microseconds */
	uint64_t bytes;
	uint64_t rate;
	uint8_t *memory;     /* free memory, aligned to 16 bytes at least */
	size_t memory_size;  /* its bytes: the size of RAM less 4 MiB, wherever it lies */
	uint64_t random;     /* state of payload_random */
	uint64_t checksum;
	uint64_t spent;      /* nanoseconds of work since the last paced exit */
	uint8_t latch;       /* last byte written to PORT_LATCH */
};

/* Each payload defines these two; payload_main gives the status to end with. */
extern const char payload_name[];
uint32_t payload_main(struct payload *payload);

/* runtime.c: the part that is the same in a guest and in a native program. */

/* Runs the payload with these arguments, from first line to checksum, and gives the status to end with. */
uint32_t payload_run(const char *arguments, uint8_t *memory, size_t memory_size);

/* Next number of the payload's sequence. */
uint64_t payload_random(struct payload *payload);

/* Takes a value into the checksum; the order counts. */
void payload_check(struct payload *payload, uint64_t value);

/* Says that about `nanoseconds` of work were done; makes an exit where the step is full. */
void payload_pace(struct payload *payload, uint64_t nanoseconds);

/* Whether a round that is numbered from 0 is to be done: there are `scale` of them, or with 0 as many as fit until
 * something is typed. */
bool payload_goes_on(const struct payload *payload, uint64_t round);

void payload_print(const char *text);
void payload_print_decimal(uint64_t value);
void payload_print_hex(uint64_t value);

/* guest.c or native.c: the ports. */
void port_out8(uint16_t port, uint8_t value);
void port_out32(uint16_t port, uint32_t value);
uint8_t port_in8(uint16_t port);
uint32_t port_in32(uint16_t port);
/* Writes `length` bytes to one port by one instruction (REP OUTSB). KVM still makes an exit for every byte: it
 * gathers INS, but not OUTS. */
void port_out8_string(uint16_t port, const void *data, size_t length);

/* guest.c alone. */
void port_out16(uint16_t port, uint16_t value);
uint16_t port_in16(uint16_t port);

#endif
