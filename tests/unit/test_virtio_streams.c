#include <string.h>

#include "devices/virtio_stream.h"
#include "tests/unit/virtio_world.h"

/* The network card, the console and the entropy device, in this order on the bus. */
enum { NET, CONSOLE, RNG };
enum { RECEIVE = VIRTIO_STREAM_RECEIVE, SEND = VIRTIO_STREAM_SEND };

static const struct board_pci_device all[] = {
	{ .kind = BOARD_PCI_NET, .mac = { 0x52, 0x54, 0, 1, 2, 3 } },
	{ .kind = BOARD_PCI_CONSOLE },
	{ .kind = BOARD_PCI_RNG },
};
static struct virtio_world *world;

static void setup(void)
{
	world = virtio_world_create(all, ARRAY_SIZE(all));
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		ck_assert_uint_eq(virtio_world_start(world, i, VIRTIO_F_EVENT_IDX), 0x0F);
}

static void teardown(void)
{
	virtio_world_destroy(world);
}

/* A chain of one buffer in descriptor `head`. */
static void buffer(unsigned device, unsigned queue, uint16_t head, uint64_t address, uint32_t length)
{
	bool receive = queue == RECEIVE;

	virtio_world_describe(world, virtio_world_descriptors(device, queue), head, address, length,
			      receive ? DESCRIPTOR_WRITE : 0, 0);
	virtio_world_offer(world, device, queue, head);
}

static struct device_input bytes_for(unsigned device, uint32_t kind, uint32_t length)
{
	struct device_input input = { .device = device, .kind = kind, .total = length, .length = length };

	for (uint32_t i = 0; i < length; i++)
		input.data[i] = (uint8_t)(i * 3 + 1);
	return input;
}

START_TEST(what_they_are)
{
	static const uint32_t ids[] = { 0x10411AF4, 0x10431AF4, 0x10441AF4 };
	static const uint32_t classes[] = { 0x020000, 0x078000, 0x00FF00 };
	static const unsigned queues[] = { 2, 2, 1 };

	for (unsigned i = 0; i < ARRAY_SIZE(all); i++) {
		ck_assert_uint_eq(virtio_world_config(world, i + 1, 0, 4), ids[i]);
		ck_assert_uint_eq(virtio_world_config(world, i + 1, 8, 4) >> 8, classes[i]);
		ck_assert_uint_eq(virtio_world_in(world, i, 0x12, 2), queues[i]);
	}
	ck_assert_uint_eq(virtio_world_in(world, NET, 0x80, 4), 0x01005452);
	ck_assert_uint_eq(virtio_world_in(world, NET, 0x84, 4), 0x00010302);
	virtio_world_out(world, NET, 0x00, 4, 0);
	ck_assert_uint_eq(virtio_world_in(world, NET, 0x04, 4), 0x30010020);
	ck_assert_uint_eq(virtio_world_in(world, CONSOLE, 0x80, 4), 0);
}
END_TEST

START_TEST(frames_that_are_sent)
{
	uint8_t *packet = world->memory + WORLD_DATA;

	memset(packet, 0, 12);
	memset(packet + 12, 0xAB, 1515);
	buffer(NET, SEND, 0, WORLD_DATA, 12 + 60);
	buffer(NET, SEND, 1, WORLD_DATA, 12 + 1514);
	virtio_world_kick(world, NET, SEND);
	ck_assert_int_eq(world->channel, OUTPUT_NET);
	ck_assert_uint_eq(world->streamed, 8 + 60 + 8 + 1514);
	ck_assert_uint_eq(bytes_load_u32(world->stream), NET);
	ck_assert_uint_eq(bytes_load_u32(world->stream + 4), 60);
	ck_assert_uint_eq(world->stream[8], 0xAB);
	ck_assert_uint_eq(bytes_load_u32(world->stream + 8 + 60 + 4), 1514);
	ck_assert_uint_eq(virtio_world_done(world, NET, SEND), 2);
	ck_assert_uint_eq(virtio_world_last_length(world, NET, SEND), 0);
	ck_assert_uint_eq(virtio_world_lines(world), 0x04);
	/* Too long, too short: dropped, and given back. */
	buffer(NET, SEND, 2, WORLD_DATA, 12 + 1515);
	buffer(NET, SEND, 3, WORLD_DATA, 12);
	buffer(NET, SEND, 4, WORLD_DATA, 3);
	buffer(NET, SEND, 5, WORLD_DATA, UINT32_MAX);
	virtio_world_kick(world, NET, SEND);
	ck_assert_uint_eq(virtio_world_done(world, NET, SEND), 6);
	ck_assert_uint_eq(world->streamed, 8 + 60 + 8 + 1514);
	/* Nowhere. */
	buffer(NET, SEND, 6, WORLD_MEMORY - 20, 12 + 60);
	virtio_world_kick(world, NET, SEND);
	ck_assert_uint_eq(virtio_world_status(world, NET), 0x4F);
	ck_assert_uint_eq(world->streamed, 8 + 60 + 8 + 1514);
}
END_TEST

START_TEST(frames_wait_for_room)
{
	world->room = 8 + 59;
	buffer(NET, SEND, 0, WORLD_DATA, 12 + 60);
	virtio_world_kick(world, NET, SEND);
	ck_assert_uint_eq(virtio_world_done(world, NET, SEND), 0);
	virtio_world_move(world, all, ARRAY_SIZE(all));
	world->room++;
	board_resume(world->board);
	ck_assert_uint_eq(virtio_world_done(world, NET, SEND), 1);
	ck_assert_uint_eq(world->streamed, 8 + 60);
}
END_TEST

START_TEST(frames_that_come)
{
	struct device_input frame = bytes_for(NET, INPUT_NET, 100);
	const uint8_t header[12] = { [10] = 1 };

	ck_assert_int_eq(board_input_fits(world->board, &frame), DEVICE_INPUT_NEVER);
	buffer(NET, RECEIVE, 0, WORLD_DATA, 1526);
	memset(world->memory + WORLD_DATA, 0xEE, 200);
	ck_assert(virtio_world_give(world, &frame));
	ck_assert_mem_eq(world->memory + WORLD_DATA, header, sizeof(header));
	ck_assert_mem_eq(world->memory + WORLD_DATA + 12, frame.data, 100);
	ck_assert_uint_eq(world->memory[WORLD_DATA + 112], 0xEE);
	ck_assert_uint_eq(virtio_world_last_length(world, NET, RECEIVE), 112);
	ck_assert_uint_eq(virtio_world_lines(world), 0x04);
	ck_assert(!virtio_world_give(world, &frame));
	/* Too small a buffer stays, and the frame is lost. */
	buffer(NET, RECEIVE, 1, WORLD_DATA, 111);
	ck_assert(virtio_world_give(world, &frame));
	ck_assert_uint_eq(virtio_world_done(world, NET, RECEIVE), 1);
	frame = bytes_for(NET, INPUT_NET, 99);
	ck_assert(virtio_world_give(world, &frame));
	ck_assert_uint_eq(virtio_world_done(world, NET, RECEIVE), 2);
	/* The console's bytes are not for the card. */
	buffer(NET, RECEIVE, 2, WORLD_DATA, 1526);
	frame.kind = INPUT_VCONSOLE;
	ck_assert(!virtio_world_give(world, &frame));
	/* Not in memory. */
	buffer(NET, RECEIVE, 3, WORLD_DATA, 1526);
	virtio_world_describe(world, virtio_world_descriptors(NET, RECEIVE), 2, WORLD_MEMORY - 100, 1526,
			      DESCRIPTOR_WRITE, 0);
	frame.kind = INPUT_NET;
	ck_assert(virtio_world_give(world, &frame));
	ck_assert_uint_eq(virtio_world_status(world, NET), 0x4F);
	ck_assert(!virtio_world_give(world, &frame));
}
END_TEST

START_TEST(a_queue_out_of_order)
{
	struct device_input frame = bytes_for(NET, INPUT_NET, 100);

	bytes_store_u16(world->memory + virtio_world_available(NET, RECEIVE) + 2, 129);
	ck_assert(virtio_world_give(world, &frame));
	ck_assert_uint_eq(virtio_world_status(world, NET), 0x4F);
	ck_assert(!virtio_world_give(world, &frame));
}
END_TEST

START_TEST(consoles)
{
	struct device_input keys = bytes_for(CONSOLE, INPUT_VCONSOLE, 100);

	memcpy(world->memory + WORLD_DATA, "hello", 5);
	buffer(CONSOLE, SEND, 0, WORLD_DATA, 5);
	virtio_world_kick(world, CONSOLE, SEND);
	ck_assert_int_eq(world->channel, OUTPUT_VCONSOLE);
	ck_assert_uint_eq(world->streamed, 13);
	ck_assert_mem_eq(world->stream, "\1\0\0\0\5\0\0\0hello", 13);
	ck_assert(!virtio_world_give(world, &keys));
	/* Over several buffers; what goes into none is lost. */
	for (uint16_t i = 0; i < 3; i++)
		buffer(CONSOLE, RECEIVE, i, WORLD_DATA + 0x100U * i, 30);
	ck_assert(virtio_world_give(world, &keys));
	ck_assert_uint_eq(virtio_world_done(world, CONSOLE, RECEIVE), 3);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_mem_eq(world->memory + WORLD_DATA + 0x100U * i, keys.data + 30 * i, 30);
	ck_assert_uint_eq(virtio_world_lines(world), 0x08);
	/* A buffer for nothing. */
	buffer(CONSOLE, RECEIVE, 3, WORLD_DATA, 0);
	ck_assert(virtio_world_give(world, &keys));
	ck_assert_uint_eq(virtio_world_status(world, CONSOLE), 0x4F);
}
END_TEST

static struct device_input entropy(const struct device_fetch *fetch, uint32_t length)
{
	struct device_input input = bytes_for(RNG, INPUT_ENTROPY, length);

	input.id = fetch->id;
	return input;
}

START_TEST(random_numbers)
{
	struct device_input input;

	buffer(RNG, 0, 0, WORLD_DATA, 64);
	buffer(RNG, 0, 1, WORLD_DATA + 0x1000, 100000);
	virtio_world_kick(world, RNG, 0);
	ck_assert_uint_eq(world->fetched, 2);
	ck_assert_uint_eq(world->fetches[0].device, RNG);
	ck_assert_uint_eq(world->fetches[0].kind, FETCH_ENTROPY);
	ck_assert_uint_eq(world->fetches[0].length, 64);
	ck_assert_uint_eq(world->fetches[1].length, 4096);
	virtio_world_move(world, all, ARRAY_SIZE(all));
	input = entropy(&world->fetches[0], 65);
	ck_assert(!virtio_world_give(world, &input));
	input = entropy(&world->fetches[1], 4096);
	ck_assert(virtio_world_give(world, &input));
	ck_assert_mem_eq(world->memory + WORLD_DATA + 0x1000, input.data, 4096);
	ck_assert_uint_eq(virtio_world_last_head(world, RNG, 0), 1);
	ck_assert_uint_eq(virtio_world_last_length(world, RNG, 0), 4096);
	ck_assert(!virtio_world_give(world, &input));
	board_fetch_again(world->board);
	ck_assert_uint_eq(world->fetched, 3);
	ck_assert_uint_eq(world->fetches[2].id, world->fetches[0].id);
	/* The outside has none. */
	input = entropy(&world->fetches[0], 0);
	input.status = 5;
	ck_assert(virtio_world_give(world, &input));
	ck_assert_uint_eq(virtio_world_last_length(world, RNG, 0), 0);
	/* What nobody can write to. */
	virtio_world_describe(world, virtio_world_descriptors(RNG, 0), 2, WORLD_DATA, 64, 0, 0);
	virtio_world_offer(world, RNG, 0, 2);
	virtio_world_kick(world, RNG, 0);
	ck_assert_uint_eq(virtio_world_status(world, RNG), 0x4F);
	ck_assert_uint_eq(world->fetched, 3);
}
END_TEST

START_TEST(random_numbers_of_before_a_reset)
{
	struct device_input input;

	buffer(RNG, 0, 0, WORLD_DATA, 64);
	virtio_world_kick(world, RNG, 0);
	input = entropy(&world->fetches[0], 64);
	ck_assert_uint_eq(virtio_world_start(world, RNG, 0), 0x0F);
	ck_assert(!virtio_world_give(world, &input));
	buffer(RNG, 0, 0, WORLD_DATA, 64);
	virtio_world_kick(world, RNG, 0);
	ck_assert_uint_eq(world->fetched, 2);
	ck_assert_uint_gt(world->fetches[1].id, world->fetches[0].id);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_streams");
	TCase *tests = tcase_create("devices");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, what_they_are);
	tcase_add_test(tests, frames_that_are_sent);
	tcase_add_test(tests, frames_wait_for_room);
	tcase_add_test(tests, frames_that_come);
	tcase_add_test(tests, a_queue_out_of_order);
	tcase_add_test(tests, consoles);
	tcase_add_test(tests, random_numbers);
	tcase_add_test(tests, random_numbers_of_before_a_reset);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
