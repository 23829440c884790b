/*
 * Fact: the power button reaches the guest. Gives back what is typed, and powers off when its button is pressed: the
 * smallest guest with which one can do all that one does with a machine.
 */
#include "guest-tools/payloads/payload.h"

enum {
	DATA_READY = 0x01, /* 16550 line status register, bit 0 */
	/* ACPI 6.4, 4.8.3.1.1 (PM1 status) and 4.8.3.2.1 (PM1 control). */
	PM_STATUS = 0x600,
	PM_STATUS_BUTTON = 1 << 8,
	PM_CONTROL = 0x604,
	PM_POWER_OFF = 5 << 10 | 1 << 13, /* S5, SLP_EN */
};

const char payload_name[] = "button";

uint32_t payload_main(struct payload *payload)
{
	(void)payload;
	payload_print("ready\n");
	while ((port_in16(PM_STATUS) & PM_STATUS_BUTTON) == 0)
		if ((port_in8(PORT_UART_STATUS) & DATA_READY) != 0)
			port_out8(PORT_UART_DATA, port_in8(PORT_UART_DATA));
	payload_print("off\n");
	port_out16(PM_CONTROL, PM_POWER_OFF);
	return PAYLOAD_WRONG;
}
