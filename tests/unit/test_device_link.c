/* What a replica's devices see of the world, and what it makes of answers: only those to what they asked for. */
#include "tests/unit/replica_world.h"
#include "tests/unit/virtio_disk.h"

#include <string.h>

#include "lockstep/device_link.h"
#include "lockstep/fetches.h"

enum { EPOCH = 3 };

static struct replica_world world;
static struct replica *replica;
static struct device_board out;
static struct source_devices devices;

/* A leader whose guest has asked its first disk for 8 KiB, from sector 6 on; fetch 1. */
static void setup(void)
{
	struct board_config config = {
		.ram_size = WORLD_MEMORY, .pci = virtio_disk_two, .pci_count = VIRTIO_DISKS,
	};
	uint8_t state[WORLD_STATE];
	struct bytes_writer writer = bytes_writer_over(state, sizeof(state));

	virtio_disk_setup();
	virtio_disk_request(IN, 6, 8192);
	ck_assert_uint_eq(virtio_disk_world->fetched, 1);
	board_save(virtio_disk_world->board, &writer);
	replica_world_make(&world, 1, NULL, NULL);
	replica = world.replicas[0];
	replica->leads = true;
	replica->epoch = EPOCH;
	out = device_link_board(replica);
	devices = device_link_devices(replica);
	config.out = out;
	must_succeed(board_create(&replica->board, &config));

	struct bytes_reader reader = bytes_reader_over(state, writer.used);

	must_succeed(board_load(replica->board, &reader));
}

static void teardown(void)
{
	board_destroy(replica->board);
	replica->board = NULL;
	replica_world_destroy(&world);
	virtio_disk_teardown();
}

/* The fetch that stands in the ring as number `number`. */
static struct fetch_slot made(uint64_t number)
{
	uint64_t taken = number;
	struct fetch_slot slot;
	bool there;

	must_succeed(fetches_take(replica->own.control, &taken, &slot, &there));
	ck_assert(there);
	return slot;
}

static uint64_t made_count(void)
{
	return checked_word_load(&replica->own.control->fetches_written, UINT64_MAX);
}

START_TEST(room)
{
	static uint8_t bytes[CONTROL_OUTPUT_MAX];
	size_t before = out.output_room(replica);

	ck_assert_uint_eq(before, CONTROL_OUTPUT_MAX);
	out.output(replica, OUTPUT_CONSOLE, bytes, 100);
	ck_assert(!replica->output_urgent);
	ck_assert_uint_le(out.output_room(replica), before - 100);
	out.output(replica, OUTPUT_DISK, bytes, 40);
	ck_assert(replica->output_urgent);
	ck_assert_uint_ne(replica->output_host_ns, 0);
	out.output(replica, OUTPUT_DISK, bytes, out.output_room(replica));
	ck_assert_uint_lt(out.output_room(replica), OUTBOX_DATA_MAX);
	out.output(replica, OUTPUT_DISK, bytes, 2 * OUTBOX_DATA_MAX);
	ck_assert_uint_eq(out.output_room(replica), 0);
	/* There is room again behind a vote. */
	(void)replica_world_vote(replica);
	ck_assert_uint_eq(out.output_room(replica), before);
}
END_TEST

START_TEST(fetches_of_leaders)
{
	const struct device_fetch fetch = { .device = 1, .kind = FETCH_DISK, .id = 9, .offset = 512, .length = 1024 };

	out.fetch(replica, &fetch);
	ck_assert_uint_eq(made_count(), 1);
	ck_assert_uint_eq(made(0).fetch.id, 9);
	ck_assert_uint_eq(made(0).epoch, EPOCH);
	replica->leads = false;
	out.fetch(replica, &fetch);
	ck_assert_uint_eq(made_count(), 1);
}
END_TEST

/* What is outstanding is asked for again by who leads from here on, and whenever the supervisor missed something. */
START_TEST(asked_again)
{
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), 0);
	device_link_lead(replica);
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), 1);
	ck_assert_uint_eq(made(0).fetch.id, virtio_disk_world->fetches[0].id);
	ck_assert_uint_eq(made(0).fetch.offset, 6 * 512);
	ck_assert_uint_eq(made(0).fetch.length, 8192);
	ck_assert(replica_world_rung(&world));
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), 1);
	atomic_fetch_add(&world.page->fetch_again, 1);
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), 2);
	ck_assert(replica_world_rung(&world));
}
END_TEST

/* A full ring loses fetches, which are made again when there is room. */
START_TEST(full_ring)
{
	const struct device_fetch fetch = { .device = 1, .kind = FETCH_DISK, .id = 9, .offset = 512, .length = 1024 };

	for (unsigned i = 0; i < FETCHES + 1; i++)
		out.fetch(replica, &fetch);
	ck_assert_uint_eq(made_count(), FETCHES);
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), FETCHES);
	atomic_store(&world.page->fetches_taken[0], FETCHES);
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), FETCHES + 1);
	ck_assert_uint_eq(made(FETCHES).fetch.id, virtio_disk_world->fetches[0].id);
}
END_TEST

/* A piece of the answer to the guest's fetch. */
static struct inbox_entry piece(uint64_t offset)
{
	const struct device_fetch *fetch = &virtio_disk_world->fetches[0];
	struct inbox_entry entry = { .end = 4152, .asked = fetches_check(fetch) };

	entry.input = virtio_disk_piece(fetch, offset);
	entry.input.epoch = EPOCH;
	return entry;
}

START_TEST(fits)
{
	struct inbox_entry entry = piece(0);

	ck_assert_int_eq(devices.fits(devices.context, &entry), DEVICE_INPUT_FITS);
	/* To look makes nothing. */
	ck_assert_uint_eq(made_count(), 0);
	entry = piece(4096);
	ck_assert_int_eq(devices.fits(devices.context, &entry), DEVICE_INPUT_NEVER);
}
END_TEST

/* Of a leadership before, whose guest may have asked for something else by that number. */
START_TEST(of_another_leadership)
{
	struct inbox_entry entry = piece(0);

	entry.input.epoch = EPOCH - 1;
	ck_assert_int_eq(devices.fits(devices.context, &entry), DEVICE_INPUT_NEVER);
	entry.input.epoch = EPOCH + 1;
	ck_assert_int_eq(devices.fits(devices.context, &entry), DEVICE_INPUT_NEVER);
	ck_assert(!replica->fetches.lost);
}
END_TEST

/* The leader asked for another place on the disk than this replica's guest wants to read. */
START_TEST(asked_for_something_else)
{
	struct device_fetch other = virtio_disk_world->fetches[0];
	struct inbox_entry entry = piece(0);

	other.offset += 512;
	entry.asked = fetches_check(&other);
	ck_assert_int_eq(devices.fits(devices.context, &entry), DEVICE_INPUT_NEVER);
	/* A leader asks again. */
	device_link_attend(replica);
	ck_assert_uint_eq(made_count(), 1);
	const struct fetch_slot slot = made(0);

	ck_assert_uint_eq(fetches_check(&slot.fetch), fetches_check(&virtio_disk_world->fetches[0]));
	replica->leads = false;
	ck_assert_int_eq(devices.fits(devices.context, &entry), DEVICE_INPUT_NEVER);
	ck_assert(!replica->fetches.lost);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("device_link");
	TCase *tests = tcase_create("device_link");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, room);
	tcase_add_test(tests, fetches_of_leaders);
	tcase_add_test(tests, asked_again);
	tcase_add_test(tests, full_ring);
	tcase_add_test(tests, fits);
	tcase_add_test(tests, of_another_leadership);
	tcase_add_test(tests, asked_for_something_else);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
