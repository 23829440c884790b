#include "guest-tools/payloads/payload.h"

#include <stdbool.h>

void payload_print(const char *text)
{
	for (; *text != '\0'; text++)
		port_out8(PORT_UART_DATA, (uint8_t)*text);
}

void payload_print_decimal(uint64_t value)
{
	char digits[21];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	payload_print(&digits[at]);
}

void payload_print_hex(uint64_t value)
{
	char digits[17];

	for (int i = 15; i >= 0; i--) {
		digits[i] = "0123456789abcdef"[value & 15];
		value >>= 4;
	}
	digits[16] = '\0';
	payload_print(digits);
}

/* splitmix64: any state is a good one, so any seed is. */
uint64_t payload_random(struct payload *payload)
{
	uint64_t z = payload->random += 0x9E3779B97F4A7C15;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return z ^ (z >> 31);
}

void payload_check(struct payload *payload, uint64_t value)
{
	uint64_t mixed = (payload->checksum ^ value) * 0x9FB21C651E98DF25;

	payload->checksum = (mixed << 23) | (mixed >> 41);
}

bool payload_goes_on(const struct payload *payload, uint64_t round)
{
	/* 16550 line status register, bit 0: something was typed. */
	if (payload->scale == 0)
		return (port_in8(PORT_UART_STATUS) & 1) == 0;
	return round < payload->scale;
}

void payload_pace(struct payload *payload, uint64_t nanoseconds)
{
	payload->spent += nanoseconds;
	if (payload->step == 0 || payload->spent < payload->step * 1000)
		return;
	payload->spent = 0;
	port_out8(PORT_LATCH, ++payload->latch);
}

/* Takes "NAME=NUMBER" at `*at` if the name fits; `ok` becomes false where the number is none. */
static bool take_argument(const char **at, const char *name, uint64_t maximum, uint64_t *value, bool *ok)
{
	const char *text = *at;
	uint64_t number = 0;
	bool digits = false;

	while (*name != '\0' && *text == *name) {
		text++;
		name++;
	}
	if (*name != '\0' || *text++ != '=')
		return false;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		if (number > (maximum - digit) / 10)
			*ok = false;
		else
			number = number * 10 + digit;
		digits = true;
	}
	if (!digits || (*text != ' ' && *text != '\0'))
		*ok = false;
	*value = number;
	*at = text;
	return true;
}

static bool parse_arguments(struct payload *payload, const char *arguments)
{
	bool ok = true;

	while (ok && *arguments != '\0') {
		if (*arguments == ' ')
			arguments++;
		else if (!take_argument(&arguments, "scale", 1000000, &payload->scale, &ok) &&
			 !take_argument(&arguments, "seed", UINT64_MAX, &payload->seed, &ok) &&
			 !take_argument(&arguments, "step", 1000000000, &payload->step, &ok) &&
			 !take_argument(&arguments, "bytes", UINT64_MAX, &payload->bytes, &ok) &&
			 !take_argument(&arguments, "rate", 100000000, &payload->rate, &ok))
			ok = false;
	}
	return ok;
}

uint32_t payload_run(const char *arguments, uint8_t *memory, size_t memory_size)
{
	struct payload payload = {
		.scale = 100,
		.seed = 1,
		.step = 200,
		.bytes = 1 << 20,
		.rate = 1000,
		.memory = memory,
		.memory_size = memory_size,
	};
	uint32_t status;

	payload_print(payload_name);
	if (!parse_arguments(&payload, arguments)) {
		payload_print(": cannot understand the arguments: ");
		payload_print(arguments);
		payload_print("\n");
		return PAYLOAD_ARGUMENTS;
	}
	payload_print(" scale=");
	payload_print_decimal(payload.scale);
	payload_print(" seed=");
	payload_print_decimal(payload.seed);
	payload_print(" step=");
	payload_print_decimal(payload.step);
	payload_print(" bytes=");
	payload_print_decimal(payload.bytes);
	payload_print("\n");

	payload.random = payload.seed;
	payload.checksum = payload.seed;
	status = payload_main(&payload);
	if (status == PAYLOAD_GOOD) {
		payload_print("checksum ");
		payload_print_hex(payload.checksum);
		payload_print("\n");
	}
	return status;
}
