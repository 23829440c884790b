#include "guest-tools/payloads/payload.h"

/* Text as fast as the console takes it, in blocks: most by REP OUTSB, the last two lines byte by byte. */
enum {
	LINE = 64,
	BLOCK = 4096,
	BYTEWISE = 2 * LINE,
};

const char payload_name[] = "output";

static char block[BLOCK];

static void write_block(struct payload *payload)
{
	uint64_t value = 0;

	for (size_t i = 0; i < BLOCK; i++) {
		if (i % 8 == 0)
			value = payload_random(payload);
		block[i] = i % LINE == LINE - 1
				   ? '\n'
				   : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ."[value & 63];
		value >>= 6;
	}
}

uint32_t payload_main(struct payload *payload)
{
	uint64_t left = payload->bytes;

	while (left > 0) {
		size_t length = left < BLOCK ? (size_t)left : BLOCK;
		size_t together = length > BYTEWISE ? length - BYTEWISE : 0;

		write_block(payload);
		port_out8_string(PORT_UART_DATA, block, together);
		for (size_t i = together; i < length; i++)
			port_out8(PORT_UART_DATA, (uint8_t)block[i]);
		for (size_t i = 0; i < length; i++)
			payload_check(payload, (uint8_t)block[i]);
		left -= length;
	}
	if (payload->bytes % LINE != 0)
		payload_print("\n");
	return PAYLOAD_GOOD;
}
