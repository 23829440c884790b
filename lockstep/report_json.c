#include "lockstep/report_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "lockstep/report.h"

json_t *report_json_hex(uint64_t value)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "0x%" PRIx64, value);
	return json_string(text);
}

json_t *report_json_bytes(const uint8_t *bytes, size_t length)
{
	char text[2 * 16 + 3] = "0x";

	for (size_t i = 0; i < length && i < 16; i++)
		(void)snprintf(text + 2 + 2 * i, 3, "%02x", bytes[length - 1 - i]);
	return json_string(text);
}

void report_json_append(json_t *list, json_t *item)
{
	if (json_array_size(list) < REPORT_LIST_MAX)
		(void)json_array_append_new(list, item);
	else
		json_decref(item);
}

json_t *report_json_bits(const uint8_t *a, const uint8_t *b, size_t length, uint64_t *count)
{
	json_t *bits = json_array();

	*count = 0;
	for (size_t i = 0; i < length; i++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			if (!((a[i] ^ b[i]) >> bit & 1))
				continue;
			const uint64_t number = 8 * (uint64_t)i + bit;

			report_json_append(bits, json_integer((json_int_t)number));
			++*count;
		}
	}
	return bits;
}
