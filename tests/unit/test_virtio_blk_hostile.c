#include "tests/unit/virtio_disk.h"

#include <string.h>

START_TEST(requests_that_fail)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t length, status;
	} bad[] = {
		{ IN, DISK_SECTORS, 512, IO_ERROR },
		{ IN, DISK_SECTORS - 1, 1024, IO_ERROR },
		{ IN, UINT64_MAX, 512, IO_ERROR },
		{ IN, UINT64_MAX / 512, 512, IO_ERROR },
		{ IN, 0, 0, IO_ERROR },
		{ IN, 0, 511, IO_ERROR },
		{ IN, 0, 128 * 1024 + 512, IO_ERROR },
		{ IN, 0, UINT32_MAX - 511, IO_ERROR },
		{ OUT, DISK_SECTORS, 512, IO_ERROR },
		{ OUT, UINT64_MAX, 512, IO_ERROR },
		{ OUT, 0, 513, IO_ERROR },
		{ OUT, 0, 0, IO_ERROR },
		{ OUT, 0, 128 * 1024 + 512, IO_ERROR },
		{ 2, 0, 512, UNSUPPORTED },
		{ UINT32_MAX, 0, 0, UNSUPPORTED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		virtio_disk_request(bad[i].type, bad[i].sector, bad[i].length);
		ck_assert_msg(virtio_disk_world->memory[DISK_STATUS] == bad[i].status, "%zu", i);
	}
	ck_assert_uint_eq(virtio_world_done(virtio_disk_world, 0, 0), ARRAY_SIZE(bad));
	ck_assert_uint_eq(virtio_disk_world->streamed, 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 0);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x0F);
}
END_TEST

/* What no driver may do: nothing of it goes anywhere, and the device asks for a reset. */
START_TEST(chains_that_break_the_device)
{
	uint64_t table = virtio_world_descriptors(0, 0);

	virtio_disk_header(IN, 0);
	switch (_i) {
	case 0: /* no room for a status */
		virtio_world_describe(virtio_disk_world, table, 0, DISK_HEADER, 16, 0, 0);
		break;
	case 1: /* half a header */
		virtio_world_describe(virtio_disk_world, table, 0, DISK_HEADER, 15, DESCRIPTOR_NEXT, 1);
		virtio_world_describe(virtio_disk_world, table, 1, DISK_STATUS, 1, DESCRIPTOR_WRITE, 0);
		break;
	case 2: /* a loop */
		virtio_world_describe(virtio_disk_world, table, 0, DISK_HEADER, 16, DESCRIPTOR_NEXT, 0);
		break;
	case 3: /* a header that is nowhere */
		virtio_world_describe(virtio_disk_world, table, 0, WORLD_MEMORY - 8, 16, DESCRIPTOR_NEXT, 1);
		virtio_world_describe(virtio_disk_world, table, 1, DISK_STATUS, 1, DESCRIPTOR_WRITE, 0);
		break;
	case 4: /* a status that is nowhere, of a request that fails */
		virtio_disk_header(99, 0);
		virtio_world_describe(virtio_disk_world, table, 0, DISK_HEADER, 16, DESCRIPTOR_NEXT, 1);
		virtio_world_describe(virtio_disk_world, table, 1, WORLD_MEMORY, 1, DESCRIPTOR_WRITE, 0);
		break;
	case 5: /* data that is nowhere */
		virtio_disk_header(OUT, 0);
		virtio_world_describe(virtio_disk_world, table, 0, DISK_HEADER, 16, DESCRIPTOR_NEXT, 1);
		virtio_world_describe(virtio_disk_world, table, 1, UINT64_MAX - 100, 512, DESCRIPTOR_NEXT, 2);
		virtio_world_describe(virtio_disk_world, table, 2, DISK_STATUS, 1, DESCRIPTOR_WRITE, 0);
		break;
	case 6: /* what is read behind what is written */
		virtio_world_describe(virtio_disk_world, table, 0, DISK_STATUS, 1,
				      DESCRIPTOR_NEXT | DESCRIPTOR_WRITE, 1);
		virtio_world_describe(virtio_disk_world, table, 1, DISK_HEADER, 16, 0, 0);
		break;
	default: /* a range that is nowhere */
		virtio_disk_header(DISCARD, 0);
		virtio_world_describe(virtio_disk_world, table, 0, DISK_HEADER, 16, DESCRIPTOR_NEXT, 1);
		virtio_world_describe(virtio_disk_world, table, 1, WORLD_MEMORY - 8, 16, DESCRIPTOR_NEXT, 2);
		virtio_world_describe(virtio_disk_world, table, 2, DISK_STATUS, 1, DESCRIPTOR_WRITE, 0);
		break;
	}
	virtio_disk_world->writes = 0;
	virtio_world_offer(virtio_disk_world, 0, 0, 0);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x4F);
	ck_assert_uint_eq(virtio_disk_world->writes, 0);
	ck_assert_uint_eq(virtio_disk_world->streamed, 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, VIRTIO_PCI_ISR, 1), VIRTIO_INTERRUPT_CONFIG);
	/* It listens to nothing else, and works again after a reset. */
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, 0), 0x0F);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
}
END_TEST

/* The driver rewrites a chain while its read is on its way. */
START_TEST(chains_that_change)
{
	uint64_t table = virtio_world_descriptors(0, 0);
	struct device_input input;

	virtio_disk_request(IN, 0, 8192);
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	virtio_disk_world->writes = 0;
	switch (_i) {
	case 0:
		virtio_world_describe(virtio_disk_world, table, 1, DISK_DATA, 4096,
				      DESCRIPTOR_NEXT | DESCRIPTOR_WRITE, 2);
		break;
	case 1:
		virtio_world_describe(virtio_disk_world, table, 1, WORLD_MEMORY - 4096, 8192,
				      DESCRIPTOR_NEXT | DESCRIPTOR_WRITE, 2);
		break;
	case 2:
		virtio_world_describe(virtio_disk_world, table, 1, DISK_DATA, 8192, DESCRIPTOR_NEXT, 2);
		break;
	default:
		virtio_world_describe(virtio_disk_world, table, 2, DISK_STATUS, 1,
				      DESCRIPTOR_NEXT | DESCRIPTOR_WRITE, 1);
		break;
	}
	input = virtio_disk_piece(&virtio_disk_world->fetches[0], 4096);
	ck_assert(virtio_world_give(virtio_disk_world, &input));
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x4F);
	ck_assert_uint_eq(virtio_disk_world->writes, 0);
	ck_assert(!virtio_world_give(virtio_disk_world, &input));
	virtio_disk_world->fetched = 0;
	board_fetch_again(virtio_disk_world->board);
	ck_assert_uint_eq(virtio_disk_world->fetched, 0);
}
END_TEST

START_TEST(a_write_whose_chain_changed)
{
	virtio_disk_request(OUT, 0, 512);
	virtio_world_describe(virtio_disk_world, virtio_world_descriptors(0, 0), 2, DISK_STATUS, 1, 0, 0);
	ck_assert(virtio_disk_done(virtio_disk_output(0).id, 0));
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x4F);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
	ck_assert(!virtio_disk_done(virtio_disk_output(0).id, 0));
}
END_TEST

/* A driver that offers one chain again and again: no more than the table holds is ever on its way. */
START_TEST(as_many_as_there_are)
{
	virtio_disk_prepare(0, 0, IN, 0, DISK_DATA, 512);
	for (unsigned i = 1; i < 64; i++)
		virtio_world_offer(virtio_disk_world, 0, 0, 0);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 64);
	for (unsigned i = 0; i < 64; i++)
		virtio_world_offer(virtio_disk_world, 0, 0, 0);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->fetched, 64);
	virtio_world_move(virtio_disk_world, virtio_disk_two, VIRTIO_DISKS);
	struct device_input input = virtio_disk_piece(&virtio_disk_world->fetches[63], 0);

	ck_assert(virtio_world_give(virtio_disk_world, &input));
	ck_assert_uint_eq(virtio_disk_world->fetched, 65); /* the next one has its place */
	ck_assert_uint_gt(virtio_disk_world->fetches[64].id, virtio_disk_world->fetches[63].id);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x0F);
}
END_TEST

START_TEST(states_that_are_as_long_as_can_be)
{
	static uint8_t bytes[BOARD_STATE_MAX];
	struct board_pci_device eight[BOARD_PCI_MAX];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct virtio_world *other;

	for (unsigned i = 0; i < BOARD_PCI_MAX; i++)
		eight[i] = virtio_disk_two[0];
	other = virtio_world_create(eight, BOARD_PCI_MAX);
	virtio_disk_teardown();
	virtio_disk_world = other;
	/* Memory for tests has room for the queues of six; five are enough to tell what each adds. */
	for (unsigned device = 0; device < 5; device++) {
		ck_assert_uint_eq(virtio_world_start(other, device, 0), 0x0F);
		virtio_disk_prepare(device, 0, IN, 0, DISK_DATA, 512);
		for (unsigned i = 1; i < 64; i++)
			virtio_world_offer(other, device, 0, 0);
		other->fetched = 0;
		virtio_world_kick(other, device, 0);
		ck_assert_uint_eq(other->fetched, 64);
	}
	board_save(other->board, &writer);
	ck_assert(!writer.overflow);

	/* The other three add no more than each of these five. */
	size_t five = writer.used;
	struct virtio_world *idle = virtio_world_create(eight, BOARD_PCI_MAX);

	writer = bytes_writer_over(bytes, sizeof(bytes));
	board_save(idle->board, &writer);
	ck_assert_uint_le(five + (five - writer.used) / 5 * 3, BOARD_STATE_MAX);
	virtio_world_destroy(idle);
}
END_TEST

START_TEST(rings_do_not_move)
{
	const uint64_t good = virtio_world_available(0, 0);

	virtio_world_out(virtio_disk_world, 0, 0x16, 2, 0);
	virtio_world_out(virtio_disk_world, 0, 0x28, 4, (uint32_t)virtio_world_available(1, 0));
	virtio_world_out(virtio_disk_world, 0, 0x18, 2, 8);
	virtio_world_out(virtio_disk_world, 0, 0x1C, 2, 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x28, 4), good);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x18, 2), 64);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x1C, 2), 1);
	/* There is no second queue, and no 65536th. */
	for (unsigned queue = 1; queue < 0x10000; queue += 0xFFFE / 2) {
		virtio_world_out(virtio_disk_world, 0, 0x16, 2, queue);
		ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x18, 2), 0);
		virtio_world_out(virtio_disk_world, 0, 0x18, 2, 8);
		virtio_world_out(virtio_disk_world, 0, 0x20, 4, 0x1000);
		virtio_world_out(virtio_disk_world, 0, 0x1C, 2, 1);
		ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x1C, 2), 0);
		virtio_world_kick(virtio_disk_world, 0, queue);
	}
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x0F);
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], GOOD);
}
END_TEST

START_TEST(steps_out_of_order)
{
	/* Nothing before its time: a queue before the features, a notification before the driver is there. */
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0);
	virtio_world_out(virtio_disk_world, 0, 0x16, 2, 0);
	virtio_world_out(virtio_disk_world, 0, 0x1C, 2, 1);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x1C, 2), 0);
	virtio_disk_world->offered[0][0] = 0;
	virtio_disk_request(GET_ID, 0, 20);
	ck_assert_uint_eq(virtio_disk_world->memory[DISK_STATUS], NOTHING);
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0xFF);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x83);
	/* Features are not changed behind FEATURES_OK. */
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, 0), 0x0F);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 1);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, 0);
	ck_assert_uint_eq(virtio_world_in(virtio_disk_world, 0, 0x0C, 4), 1);
	/* A status bit is not taken back. */
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 1);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x0F);
	/* A queue of a size that cannot be. */
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 0);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, 1 << 9);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 1);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, 1);
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0x0B);
	virtio_world_out(virtio_disk_world, 0, 0x16, 2, 0);
	virtio_world_out(virtio_disk_world, 0, 0x18, 2, 48);
	virtio_world_out(virtio_disk_world, 0, 0x1C, 2, 1);
	ck_assert_uint_eq(virtio_world_status(virtio_disk_world, 0), 0x4B);
}
END_TEST

/* Used entries are written over the available index: the device does what was there when it was told, and no more. */
START_TEST(rings_that_overlap)
{
	uint64_t used = virtio_world_available(0, 0);

	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 0);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, 1 << 9);
	virtio_world_out(virtio_disk_world, 0, 0x08, 4, 1);
	virtio_world_out(virtio_disk_world, 0, 0x0C, 4, 1);
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0x0B);
	virtio_world_out(virtio_disk_world, 0, 0x16, 2, 0);
	virtio_world_out(virtio_disk_world, 0, 0x20, 4, (uint32_t)virtio_world_descriptors(0, 0));
	virtio_world_out(virtio_disk_world, 0, 0x28, 4, (uint32_t)virtio_world_available(0, 0));
	virtio_world_out(virtio_disk_world, 0, 0x30, 4, (uint32_t)used);
	virtio_world_out(virtio_disk_world, 0, 0x1C, 2, 1);
	virtio_world_out(virtio_disk_world, 0, 0x14, 1, 0x0F);
	virtio_disk_world->offered[0][0] = 0;
	virtio_disk_world->writes = 0;
	virtio_disk_prepare(0, 0, GET_ID, 0, DISK_DATA, 20);
	virtio_world_offer(virtio_disk_world, 0, 0, 0);
	virtio_world_kick(virtio_disk_world, 0, 0);
	ck_assert_uint_eq(virtio_disk_world->writes, 2 * 4); /* of each: serial, status, entry, index */
	ck_assert_uint_eq(bytes_load_u16(virtio_disk_world->memory + used + 2), 2);
}
END_TEST

/* The states of a disk with requests on their way, damaged bit by bit. */
START_TEST(hostile_states)
{
	static uint8_t bytes[WORLD_STATE], again[WORLD_STATE];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct virtio_world *other = virtio_world_create(virtio_disk_two, VIRTIO_DISKS);
	unsigned loaded = 0;

	virtio_disk_request(IN, 0, 8192);
	virtio_disk_request(OUT, 0, 512);
	board_save(virtio_disk_world->board, &writer);
	for (size_t bit = 0; bit < 8 * writer.used; bit++) {
		struct bytes_reader reader = bytes_reader_over(bytes, writer.used);
		struct bytes_writer copy = bytes_writer_over(again, sizeof(again));
		struct device_input input = virtio_disk_piece(&virtio_disk_world->fetches[0], 0);

		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (!failed(board_load(other->board, &reader))) {
			board_save(other->board, &copy);
			ck_assert_uint_eq(copy.used, writer.used);
			ck_assert_mem_eq(bytes, again, writer.used);
			memcpy(other->memory, virtio_disk_world->memory, WORLD_MEMORY);
			other->fetched = 0;
			other->streamed = 0;
			other->room = WORLD_STREAM;
			(void)virtio_world_give(other, &input);
			virtio_world_kick(other, 0, 0);
			board_fetch_again(other->board);
			loaded++;
		}
		bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	ck_assert_uint_gt(loaded, 0);
	virtio_world_destroy(other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_blk_hostile");
	TCase *tests = tcase_create("requests");

	tcase_add_checked_fixture(tests, virtio_disk_setup, virtio_disk_teardown);
	tcase_add_test(tests, requests_that_fail);
	tcase_add_loop_test(tests, chains_that_break_the_device, 0, 8);
	tcase_add_loop_test(tests, chains_that_change, 0, 4);
	tcase_add_test(tests, a_write_whose_chain_changed);
	tcase_add_test(tests, as_many_as_there_are);
	tcase_add_test(tests, states_that_are_as_long_as_can_be);
	tcase_add_test(tests, rings_do_not_move);
	tcase_add_test(tests, steps_out_of_order);
	tcase_add_test(tests, rings_that_overlap);
	tcase_add_test(tests, hostile_states);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
