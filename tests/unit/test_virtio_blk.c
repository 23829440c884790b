#include "tests/unit/virtio_disk.h"

#include <string.h>

#define F_FLUSH (1 << 9)

START_TEST(configuration)
{
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x80, 4), DISK_SECTORS);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x84, 4), 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x88, 4), 4096);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x8C, 4), 30);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x94, 4), 512);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0xA8, 4), 1);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0xB8, 1), 1);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0xFC, 4), 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x12, 2), 1); /* queues */
	virtio_world_out(virtio_disk_world, 0, 0x00, 4, 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x04, 4), 0x30006246);
	virtio_world_out(virtio_disk_world, 1, 0x00, 4, 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 1, 0x04, 4), 0x30000066);
	virtio_world_out(virtio_disk_world, 0, 0x00, 4, 1);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x04, 4), 1);
	virtio_world_out(virtio_disk_world, 0, 0x00, 4, 2);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x04, 4), 0);
}
END_TEST

START_TEST(drivers_that_are_refused)
{
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, VIRTIO_F_VERSION_1),
			  VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, F_FLUSH),
			  VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 1, F_FLUSH), 0x0F);
	/* A feature that is not offered. */
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 1);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, 5);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 0);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, F_FLUSH);
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0x0B);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x03);
	/* DRIVER_OK before FEATURES_OK. */
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0x07);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x03);
}
END_TEST

START_TEST(a_read_comes_in_pieces)
{
	struct device_input input;

	virtio_disk_request(IN, 8, 4096 + 1024);
	ck_assert_uint_eq(virtio_disk_world->fetched, 1);
	ck_assert_uint_eq(virtio_disk_world->fetches[0].device, 0);
	ck_assert_uint_eq(virtio_disk_world->fetches[0].kind, FETCH_DISK);
	ck_assert_uint_eq(virtio_disk_world->fetches[0].offset, 8 * 512);
	ck_assert_uint_eq(virtio_disk_world->fetches[0].length, 4096 + 1024);
	ck_assert_uint_eq(virtio_disk_world->streamed, 0);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 4096);
	ck_assert(!virtio_world_give(virtio_disk_world, &input)); /* not yet */
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	ck_assert(!virtio_world_give(virtio_disk_world, &input)); /* not twice */
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), 0);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0);
	virtio_world_move(virtio_disk_world, virtio_disk_two, VIRTIO_DISKS);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 4096);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	virtio_disk_must_hold(DISK_DATA, 4096 + 1024);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), 1);
	ck_assert_uint_eq(virtio_world_last_head(virtio_disk_world, 0, 0), 0);
	ck_assert_uint_eq(virtio_world_last_length(virtio_disk_world, 0, 0), 4096 + 1024 + 1);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0x04);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, VIRTIO_PCI_ISR, 1), VIRTIO_INTERRUPT_QUEUE);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0);
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
}
END_TEST

START_TEST(answers_to_something_else)
{
	struct device_input input;

	virtio_disk_request(IN, 8, 1024);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	input.id++;
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	input.total = 512;
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	input.device = 1;
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	input.device = 2;
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	input.device = UINT32_MAX;
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	input.kind = INPUT_ENTROPY;
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	ck_assert(!virtio_disk_done(virtio_disk_world->fetches[0].id, 0));
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
}
END_TEST

START_TEST(a_read_that_fails)
{
	struct device_input input;

	virtio_disk_request(IN, 0, 8192);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 4096);
	input.status = 5;
	input.length = 0;
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], IO_ERROR);
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), 1);
}
END_TEST

START_TEST(a_new_leader_asks_again)
{
	struct device_input input;

	virtio_disk_prepare(0, 0, IN, 0, DISK_DATA, 8192);
	virtio_disk_prepare(0, 4, IN, 1, DISK_DATA + 8192, 512);
	virtio_disk_prepare(0, 8, OUT, 2, DISK_DATA, 512);
	virtio_disk_prepare(0, 12, IN, 2, DISK_DATA + 16384, 512);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 3);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	board_fetch_again(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->fetched, 6);
	ck_assert_uint_eq(virtio_disk_world->fetches[3].id, virtio_disk_world->fetches[0].id);
	ck_assert_uint_eq(virtio_disk_world->fetches[3].offset, 0);
	ck_assert_uint_eq(virtio_disk_world->fetches[3].length, 8192);
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	input = virtio_disk_piece(&virtio_disk_world->fetches[3], 4096);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	board_fetch_again(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->fetched, 8);
}
END_TEST

START_TEST(a_write_is_taken_down_at_once)
{
	struct device_disk_request put;

	for (unsigned i = 0; i < 1024; i++)
		virtio_disk_world->memory[DISK_DATA + i] = (uint8_t)(i * 13 + 5);
	virtio_disk_request(OUT, DISK_SECTORS - 2, 1024);
	memset(virtio_disk_world->memory + DISK_DATA, 0, 1024);
	ck_assert_uint_eq(virtio_disk_world->streamed, DEVICE_DISK_HEADER + 1024);
	ck_assert_int_eq(virtio_disk_world->channel, OUTPUT_DISK);
	put = virtio_disk_output(0);
	ck_assert_uint_eq(put.device, 0);
	ck_assert_uint_eq(put.op, DEVICE_DISK_WRITE);
	ck_assert_uint_eq(put.offset, (DISK_SECTORS - 2) * 512);
	ck_assert_uint_eq(put.length, 1024);
	memcpy(virtio_disk_world->memory + DISK_DATA, virtio_disk_world->stream + DEVICE_DISK_HEADER, 1024);
	virtio_disk_must_hold(DISK_DATA, 1024);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
	virtio_world_move(virtio_disk_world, virtio_disk_two, VIRTIO_DISKS);
	ck_assert(!virtio_disk_done(put.id + 1, 0));
	ck_assert(virtio_disk_done(put.id, 0));
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
	ck_assert_uint_eq(virtio_world_last_length(virtio_disk_world, 0, 0), 1);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0x04);
	ck_assert(!virtio_disk_done(put.id, 0));
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), 1);
}
END_TEST

START_TEST(flush_and_serial)
{
	struct device_disk_request put;

	virtio_disk_request(FLUSH, 0, 0);
	put = virtio_disk_output(0);
	ck_assert_uint_eq(put.op, DEVICE_DISK_FLUSH);
	ck_assert_uint_eq(virtio_disk_world->streamed, DEVICE_DISK_HEADER);
	ck_assert(virtio_disk_done(put.id, 28));
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], IO_ERROR);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
	ck_assert_mem_eq(virtio_disk_world->memory + DISK_DATA, "tercet-disk-0\0\0\0\0\0\0", 20);
	memset(virtio_disk_world->memory + DISK_DATA, 1, 20);
	virtio_disk_request(GET_ID, 0, 6);
	ck_assert_mem_eq(virtio_disk_world->memory + DISK_DATA, "tercet\1", 7);
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), 3);
	ck_assert_uint_eq(virtio_world_last_length(virtio_disk_world, 0, 0), 7);
}
END_TEST

START_TEST(discards_and_zeroes)
{
	struct device_disk_request put;

	virtio_disk_range(16, 100, 0);
	virtio_disk_request(DISCARD, 0, 16);
	put = virtio_disk_output(0);
	ck_assert_uint_eq(put.op, DEVICE_DISK_DISCARD);
	ck_assert_uint_eq(put.offset, 16 * 512);
	ck_assert_uint_eq(put.length, 100 * 512);
	virtio_disk_range(DISK_SECTORS - 1, 1, 1);
	virtio_disk_request(WRITE_ZEROES, 0, 16);
	put = virtio_disk_output(DEVICE_DISK_HEADER);
	ck_assert_uint_eq(put.op, DEVICE_DISK_WRITE_ZEROES);
	ck_assert_uint_eq(put.offset, (DISK_SECTORS - 1) * 512);
	ck_assert_uint_eq(put.flags, DEVICE_DISK_UNMAP);
	ck_assert(virtio_disk_done(put.id, 0));
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t sectors, flags, length, status;
	} bad[] = {
		{ DISCARD, DISK_SECTORS, 1, 0, 16, IO_ERROR },
		{ DISCARD, DISK_SECTORS - 1, 2, 0, 16, IO_ERROR },
		{ DISCARD, UINT64_MAX, 2, 0, 16, IO_ERROR },
		{ DISCARD, 0, 0, 0, 16, IO_ERROR },
		{ WRITE_ZEROES, 0, UINT32_MAX, 0, 16, IO_ERROR },
		{ DISCARD, 0, 1, 0, 32, IO_ERROR },
		{ DISCARD, 0, 1, 0, 8, IO_ERROR },
		{ DISCARD, 0, 1, 1, 16, UNSUPPORTED },
		{ WRITE_ZEROES, 0, 1, 2, 16, UNSUPPORTED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		virtio_disk_range(bad[i].sector, bad[i].sectors, bad[i].flags);
		virtio_disk_request(bad[i].type, 0, bad[i].length);
		ck_assert_msg(virtio_disk_world->memory[DISK_STATUS] == bad[i].status, "%zu", i);
	}
	ck_assert_uint_eq(virtio_disk_world->streamed, 2 * DEVICE_DISK_HEADER);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x0F);
}
END_TEST

START_TEST(a_disk_that_is_read_only)
{
	virtio_disk_range(0, 1, 0);
	virtio_disk_request_of(1, OUT, 0, 512);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], IO_ERROR);
	virtio_disk_request_of(1, DISCARD, 0, 16);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], IO_ERROR);
	virtio_disk_request_of(1, WRITE_ZEROES, 0, 16);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], IO_ERROR);
	virtio_disk_request_of(1, FLUSH, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
	ck_assert_uint_eq(virtio_disk_world->streamed, 0);
	virtio_disk_request_of(1, IN, 0, 512);
	ck_assert_uint_eq(virtio_disk_world->fetched, 1);
	ck_assert_uint_eq(virtio_disk_world->fetches[0].device, 1);
}
END_TEST

START_TEST(waits_for_room)
{
	virtio_disk_world->room = DEVICE_DISK_HEADER + 511;
	virtio_disk_request(OUT, 0, 512);
	virtio_disk_prepare(0, 4, FLUSH, 0, 0, 0);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->streamed, 0);
	board_resume(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->streamed, 0);
	virtio_disk_world->room = DEVICE_DISK_HEADER + 512;
	virtio_world_move(virtio_disk_world, virtio_disk_two, VIRTIO_DISKS);
	board_resume(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->streamed, DEVICE_DISK_HEADER + 512);
	ck_assert_uint_eq(virtio_disk_output(0).op, DEVICE_DISK_WRITE);
	virtio_disk_world->room = DEVICE_DISK_HEADER;
	board_resume(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->streamed, 2 * DEVICE_DISK_HEADER + 512);
	ck_assert_uint_eq(virtio_disk_output(DEVICE_DISK_HEADER + 512).op, DEVICE_DISK_FLUSH);
	ck_assert_uint_ne(virtio_disk_output(DEVICE_DISK_HEADER + 512).id, virtio_disk_output(0).id);
	board_resume(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->streamed, 2 * DEVICE_DISK_HEADER + 512);
}
END_TEST

START_TEST(a_reset_waits_for_what_was_written)
{
	struct device_disk_request put;
	struct device_input input;

	virtio_disk_request(IN, 0, 512);
	virtio_disk_request(OUT, 0, 512);
	put = virtio_disk_output(0);
	if (_i == 0)
		board_reset(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, 0), 0x0F);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	virtio_disk_request(IN, 0, 512);
	ck_assert_uint_eq(virtio_disk_world->fetched, 1);
	virtio_world_move(virtio_disk_world, virtio_disk_two, VIRTIO_DISKS);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 1);
	ck_assert(virtio_disk_done(put.id, 0));
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 2);
	ck_assert_uint_gt(virtio_disk_world->fetches[1].id, put.id);
	ck_assert(!virtio_disk_done(put.id, 0));
}
END_TEST

START_TEST(events_of_the_driver)
{
	uint8_t *used_event = virtio_disk_world->memory + virtio_world_available(0, 0) + 4 + 2 * 64;
	const uint8_t *available_event = virtio_disk_world->memory + virtio_world_used(0, 0) + 4 + 8 * 64;

	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, 0), 0x0F);
	bytes_store_u16(used_event, 1); /* tell me of the second */
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0);
	ck_assert_uint_eq(bytes_load_u16(available_event), 1);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0x04);
	ck_assert_uint_eq(bytes_load_u16(available_event), 2);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, VIRTIO_PCI_ISR, 1), 1);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0);
	/* Without the feature: by the flag. */
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, VIRTIO_F_EVENT_IDX), 0x0F);
	bytes_store_u16(virtio_disk_world->memory + virtio_world_available(0, 0), 1);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0);
	bytes_store_u16(virtio_disk_world->memory + virtio_world_available(0, 0), 0);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_world_lines(virtio_disk_world), 0x04);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_blk");
	TCase *tests = tcase_create("requests");

	tcase_add_checked_fixture(tests, virtio_disk_setup, virtio_disk_teardown);
	tcase_add_test(tests, configuration);
	tcase_add_test(tests, drivers_that_are_refused);
	tcase_add_test(tests, a_read_comes_in_pieces);
	tcase_add_test(tests, answers_to_something_else);
	tcase_add_test(tests, a_read_that_fails);
	tcase_add_test(tests, a_new_leader_asks_again);
	tcase_add_test(tests, a_write_is_taken_down_at_once);
	tcase_add_test(tests, flush_and_serial);
	tcase_add_test(tests, discards_and_zeroes);
	tcase_add_test(tests, a_disk_that_is_read_only);
	tcase_add_test(tests, waits_for_room);
	tcase_add_loop_test(tests, a_reset_waits_for_what_was_written, 0, 2);
	tcase_add_test(tests, events_of_the_driver);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
