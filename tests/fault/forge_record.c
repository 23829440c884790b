#include "tests/fault/forge_record.h"

#include <stddef.h>
#include <string.h>

#include "tests/fault/damage.h"

struct field {
	const char *name;
	size_t offset;
	size_t size; /* 4 or 8: a number; else bytes */
};

#define FIELD(member) { #member, offsetof(struct vote_record, member), sizeof(((struct vote_record *)NULL)->member) }

static const struct field fields[] = {
	FIELD(number),        FIELD(position),      FIELD(cause),          FIELD(end),           FIELD(end_value),
	FIELD(guest_ns),      FIELD(output_end),    FIELD(console_taken),  FIELD(buttons_taken),
	FIELD(inbox_taken),   FIELD(halted),        FIELD(resets_taken),   FIELD(boots),
	FIELD(ballot),        FIELD(cpu),           FIELD(devices_size),   FIELD(devices),       FIELD(changes_begin),
	FIELD(changes_end),   FIELD(output_host_ns), FIELD(cast_host_ns),  FIELD(tape_at),       FIELD(epoch),
	FIELD(core),
};

/* Of cpu and devices, which are large, a byte in every so many. */
enum { SAMPLE = 61, STALE_WAYS = 4 };

static bool is_number(const struct field *field)
{
	return field->size == sizeof(uint32_t) || field->size == sizeof(uint64_t);
}

static uint64_t stride_of(const struct field *field)
{
	return field->size > sizeof(struct vote_ballot) ? SAMPLE : 1;
}

static uint64_t strikes_of(const struct field *field)
{
	if (is_number(field))
		return DAMAGE_NUMBER_WAYS;
	return (field->size + stride_of(field) - 1) / stride_of(field) * DAMAGE_BYTE_WAYS;
}

static uint64_t space(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		sum += strikes_of(&fields[i]);
	return sum;
}

static void forge_number(struct plan *plan, uint8_t *at, const struct field *field, uint64_t strike, uint64_t way)
{
	uint64_t number = 0;
	uint64_t forged;

	/* Little-endian, as is everything that tercet runs on. */
	memcpy(&number, at, field->size);
	forged = damage_number(number, (unsigned)way, plan_random(plan));
	memcpy(at, &forged, field->size);
	plan_log(plan, "strike %llu: record.%s is %llu, not %llu", (unsigned long long)strike, field->name,
		 (unsigned long long)forged, (unsigned long long)number);
}

static void forge_byte(struct plan *plan, uint8_t *at, const struct field *field, uint64_t strike, uint64_t way)
{
	uint64_t offset = way / DAMAGE_BYTE_WAYS * stride_of(field);
	uint8_t forged = damage_byte(at[offset], (unsigned)(way % DAMAGE_BYTE_WAYS), plan_random(plan));

	plan_log(plan, "strike %llu: record.%s byte %llu is 0x%02x, not 0x%02x", (unsigned long long)strike,
		 field->name, (unsigned long long)offset, forged, at[offset]);
	at[offset] = forged;
}

static void forge_field(struct plan *plan, struct vote_record *record, uint64_t strike)
{
	uint64_t way = strike;
	size_t i = 0;

	while (way >= strikes_of(&fields[i]))
		way -= strikes_of(&fields[i++]);

	uint8_t *at = (uint8_t *)record + fields[i].offset;

	if (is_number(&fields[i]))
		forge_number(plan, at, &fields[i], strike, way);
	else
		forge_byte(plan, at, &fields[i], strike, way);
}

static void forge_stale(struct plan *plan, struct vote_record *record, uint64_t number, uint64_t strike)
{
	const struct vote_record *before = &plan->own.control->records[(number - 1) % CONTROL_VOTE_SLOTS];
	unsigned peer = (plan->config.index + 1) % plan->config.replicas;
	struct area area;

	switch (plan_variant(plan, strike, STALE_WAYS)) {
	case 0:
	case 1:
		*record = *before;
		if (plan_variant(plan, strike, STALE_WAYS) == 1)
			record->number = number;
		break;
	case 2:
		if (!failed(area_map(&area, plan->config.peer_area_fds[peer], plan->config.memory / RAM_PAGE_SIZE,
				     false))) {
			*record = area.control->records[number % CONTROL_VOTE_SLOTS];
			area_unmap(&area);
		}
		break;
	default:
		memset(record, 0, sizeof(*record));
		break;
	}
}

void forge_record_publish(struct plan *plan, uint64_t number)
{
	struct vote_record *record = &plan->own.control->records[number % CONTROL_VOTE_SLOTS];
	uint64_t strike;

	if (number % plan->every != 0)
		return;
	if (plan_is(plan, "record") && plan_strike(plan, space(), &strike)) {
		forge_field(plan, record, strike);
	} else if (plan_is(plan, "stale") && plan_strike(plan, UINT64_MAX, &strike)) {
		plan_log(plan, "strike %llu: a stale record", (unsigned long long)strike);
		forge_stale(plan, record, number, strike);
	} else if (plan_is(plan, "end") && plan_strike(plan, UINT64_MAX, &strike)) {
		plan_log(plan, "strike %llu: the guest has ended, says the record", (unsigned long long)strike);
		record->end = (uint32_t)plan->variant;
		record->end_value = 0;
	}
}
