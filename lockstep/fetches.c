#include "lockstep/fetches.h"

#include "base/crc.h"
#include "lockstep/control.h"

enum { CHECKED = 32 };

static void put_fetch(struct bytes_writer *writer, const struct device_fetch *fetch)
{
	bytes_put_u32(writer, fetch->device);
	bytes_put_u32(writer, fetch->kind);
	bytes_put_u64(writer, fetch->id);
	bytes_put_u64(writer, fetch->offset);
	bytes_put_u32(writer, fetch->length);
}

uint32_t fetches_check(const struct device_fetch *fetch)
{
	uint8_t bytes[CHECKED];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));

	put_fetch(&writer, fetch);
	return crc_of(bytes, writer.used);
}

static uint32_t slot_crc(const struct fetch_slot *slot)
{
	uint8_t bytes[CHECKED];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));

	put_fetch(&writer, &slot->fetch);
	bytes_put_u32(&writer, slot->epoch);
	return crc_of(bytes, writer.used);
}

bool fetches_put(struct control *own, uint64_t *made, uint64_t taken, uint32_t epoch,
		 const struct device_fetch *fetch)
{
	struct fetch_slot slot = { .fetch = *fetch, .epoch = epoch };

	if (*made - taken >= FETCHES)
		return false;
	slot.crc = slot_crc(&slot);
	own->fetches[*made % FETCHES] = slot;
	checked_word_store(&own->fetches_written, ++*made);
	return true;
}

result fetches_take(const struct control *control, uint64_t *taken, struct fetch_slot *slot, bool *there)
{
	uint64_t written = checked_word_load(&control->fetches_written, *taken);

	*there = written != *taken;
	if (!*there)
		return OK;
	if (written < *taken || written - *taken > FETCHES) {
		*taken = written;
		return fail(STATUS_FAILED, "its ring of fetches was overrun");
	}
	*slot = control->fetches[*taken % FETCHES];
	++*taken;
	if (slot->crc != slot_crc(slot))
		return fail(STATUS_FAILED, "a fetch of its devices is damaged");
	return OK;
}
