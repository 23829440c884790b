/* Fact: console input arrives. Gives back every byte; ends after a 'q' at the start of a line. */
#include "guest-tools/payloads/payload.h"

enum {
	DATA_READY = 0x01, /* 16550 line status register, bit 0 */
};

const char payload_name[] = "echo";

uint32_t payload_main(struct payload *payload)
{
	uint8_t before = '\n';

	for (;;) {
		uint8_t byte;

		while ((port_in8(PORT_UART_STATUS) & DATA_READY) == 0)
			;
		byte = port_in8(PORT_UART_DATA);
		port_out8(PORT_UART_DATA, byte);
		payload_check(payload, byte);
		if (byte == 'q' && (before == '\n' || before == '\r'))
			break;
		before = byte;
	}
	payload_print("\n");
	return PAYLOAD_GOOD;
}
