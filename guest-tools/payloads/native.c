/*
 * The bottom of a payload that is built as an ordinary program: ports that do what the guest's board does, as far
 * as a payload can tell. One more argument: ram=N, the guest's RAM in MiB (default 512).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guest-tools/payloads/payload.h"

static uint8_t latch;

void port_out8(uint16_t port, uint8_t value)
{
	if (port == PORT_UART_DATA)
		putchar(value);
	else if (port == PORT_LATCH)
		latch = value;
}

void port_out32(uint16_t port, uint32_t value)
{
	(void)port;
	(void)value;
}

uint8_t port_in8(uint16_t port)
{
	return port == PORT_LATCH ? latch : 0xFF;
}

uint32_t port_in32(uint16_t port)
{
	struct timespec now;

	if (port != PORT_PM_TIMER)
		return UINT32_MAX;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)((uint64_t)now.tv_sec * 3579545 + (uint64_t)now.tv_nsec * 3579545 / 1000000000);
}

void port_out8_string(uint16_t port, const void *data, size_t length)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++)
		port_out8(port, bytes[i]);
}

int main(int argc, char **argv)
{
	char arguments[4096] = "";
	size_t used = 0, ram = 512;
	uint8_t *memory;
	uint32_t status;

	for (int i = 1; i < argc; i++) {
		size_t length = strlen(argv[i]);

		if (strncmp(argv[i], "ram=", 4) == 0) {
			ram = strtoul(argv[i] + 4, NULL, 10);
			continue;
		}
		if (length + 2 > sizeof(arguments) - used) {
			fprintf(stderr, "%s: the arguments are too long\n", argv[0]);
			return PAYLOAD_ARGUMENTS;
		}
		memcpy(arguments + used, argv[i], length);
		used += length;
		arguments[used++] = ' ';
	}
	/* guest.c leaves out the first and the last 2 MiB. */
	if (ram < 5 || ram > 3072) {
		fprintf(stderr, "%s: ram=N must be 5 to 3072 MiB\n", argv[0]);
		return PAYLOAD_ARGUMENTS;
	}
	memory = malloc((ram - 4) << 20);
	if (memory == NULL) {
		fprintf(stderr, "%s: no memory\n", argv[0]);
		return PAYLOAD_WRONG;
	}
	status = payload_run(arguments, memory, (ram - 4) << 20);
	free(memory);
	return fflush(stdout) == 0 ? (int)(status & 0xFF) : PAYLOAD_WRONG;
}
