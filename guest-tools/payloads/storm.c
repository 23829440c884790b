#include "guest-tools/payloads/storm.h"

enum {
	WRITES = 9,
	READS = 6,
	ROUNDS_PER_LINE = 500,
};

uint32_t storm_run(struct payload *payload, uint64_t rounds)
{
	uint32_t before = port_in32(PORT_PM_TIMER);

	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t value = payload_random(payload);
		uint32_t now;

		for (int i = 0; i < WRITES; i++) {
			payload->latch = (uint8_t)(value >> (7 * i));
			port_out8(PORT_LATCH, payload->latch);
			if (i >= WRITES - READS) {
				uint8_t read = port_in8(PORT_LATCH);

				payload_check(payload, read);
				if (read != payload->latch) {
					payload_print("storm: port 0x80 does not read as it was written\n");
					return PAYLOAD_WRONG;
				}
			}
		}
		/* A difference of more than half the range is a step back; the timer may wrap (every 20 minutes). */
		now = port_in32(PORT_PM_TIMER);
		if (now - before >= UINT32_C(1) << 31) {
			payload_print("storm: the PM timer went back\n");
			return PAYLOAD_WRONG;
		}
		before = now;
		if (round % ROUNDS_PER_LINE == ROUNDS_PER_LINE - 1) {
			payload_print("storm ");
			payload_print_decimal(round + 1);
			payload_print("\n");
		}
	}
	return PAYLOAD_GOOD;
}
