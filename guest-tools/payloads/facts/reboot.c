/*
 * Fact: a reset begins the machine anew. The payload counts its boots in a cell of the real-time clock, whose battery
 * keeps it; looks whether memory and devices are as after power-on; works; leaves its marks in both; and resets the
 * machine - the first time by the keyboard controller, the second time by the chip set's register. From the third boot
 * on it powers off instead. `scale` is the amount of work.
 *
 * Output: "boot N" at the beginning of each, "boot N: work HEX" at its end.
 */
#include <stdbool.h>

#include "guest-tools/payloads/payload.h"

enum {
	RTC_INDEX = 0x70,
	RTC_DATA = 0x71,
	RTC_COUNTER = 0x40, /* of the cells that mean nothing to anybody */
	PIC_MASK = 0x21,
	PIC_MASK_MARK = 0xFB,
	UART_SCRATCH = 0x3FF,
	UART_SCRATCH_MARK = 0x5A,
	KEYBOARD_COMMAND = 0x64,
	KEYBOARD_PULSE_RESET = 0xFE,
	RESET_CONTROL = 0xCF9,
	RESET_CONTROL_FULL = 0x06,
	PM_CONTROL = 0x604,
	PM_POWER_OFF = 5 << 10 | 1 << 13, /* S5, SLP_EN (ACPI 6.4, 4.8.3.2.1) */
	RESETS = 2,
	PAGE = 4096,
};

const char payload_name[] = "reboot";

static uint8_t cell_read(uint8_t cell)
{
	port_out8(RTC_INDEX, cell);
	return port_in8(RTC_DATA);
}

static void cell_write(uint8_t cell, uint8_t value)
{
	port_out8(RTC_INDEX, cell);
	port_out8(RTC_DATA, value);
}

static bool is_new(const struct payload *payload)
{
	const volatile uint8_t *memory = payload->memory;

	for (size_t i = 0; i < payload->memory_size; i += PAGE / 2)
		if (memory[i] != 0)
			return false;
	return port_in8(PIC_MASK) != PIC_MASK_MARK && port_in8(UART_SCRATCH) != UART_SCRATCH_MARK;
}

static void leave_marks(const struct payload *payload, uint8_t mark)
{
	volatile uint8_t *memory = payload->memory;

	for (size_t i = 0; i < payload->memory_size; i += PAGE / 2)
		memory[i] = mark;
	port_out8(PIC_MASK, PIC_MASK_MARK);
	port_out8(UART_SCRATCH, UART_SCRATCH_MARK);
}

/* Something that takes a while, with exits on the way. */
static uint64_t work(struct payload *payload)
{
	uint64_t value = 0;

	for (uint64_t i = 0; i < payload->scale * 100; i++) {
		for (unsigned j = 0; j < 1000; j++)
			value ^= payload_random(payload);
		payload_pace(payload, 2000);
	}
	return value;
}

static void say(unsigned boot, const char *what)
{
	payload_print("boot ");
	payload_print_decimal(boot);
	payload_print(what);
}

uint32_t payload_main(struct payload *payload)
{
	uint8_t boot = cell_read(RTC_COUNTER);

	say(boot, "\n");
	if (!is_new(payload)) {
		payload_print("something is left of the boot before\n");
		return PAYLOAD_WRONG;
	}
	leave_marks(payload, (uint8_t)(boot + 1));
	say(boot, ": work ");
	payload_print_hex(work(payload));
	payload_print("\n");
	cell_write(RTC_COUNTER, (uint8_t)(boot + 1));
	if (boot >= RESETS)
		port_out16(PM_CONTROL, PM_POWER_OFF);
	else if (boot == 0)
		port_out8(KEYBOARD_COMMAND, KEYBOARD_PULSE_RESET);
	else
		port_out8(RESET_CONTROL, RESET_CONTROL_FULL);
	payload_print("the machine goes on\n");
	return PAYLOAD_WRONG;
}
