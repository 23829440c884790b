#include "devices/virtqueue.h"

#include <string.h>

#include "tests/unit/fixture.h"

#define MEMORY 0x10000U
#define DESCRIPTORS 0x1000U
#define AVAILABLE 0x2000U
#define USED 0x3000U
#define TABLE 0x4000U
#define SIZE 8U

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static uint8_t memory[MEMORY];
static unsigned reads;
static struct virtqueue queue;
static struct virtqueue_chain chain;
static struct device_board board;

static bool read_memory(void *context, uint64_t address, void *data, size_t length)
{
	(void)context;
	reads++;
	if (address > MEMORY || length > MEMORY - address)
		return false;
	memcpy(data, memory + address, length);
	return true;
}

static bool write_memory(void *context, uint64_t address, const void *data, size_t length)
{
	(void)context;
	if (address > MEMORY || length > MEMORY - address)
		return false;
	memcpy(memory + address, data, length);
	return true;
}

static void setup(void)
{
	memset(memory, 0, sizeof(memory));
	board = (struct device_board){ .memory_read = read_memory, .memory_write = write_memory };
	queue = (struct virtqueue){ .max = 16 };
	virtqueue_reset(&queue);
	ck_assert_uint_eq(queue.size, 16);
	queue.size = SIZE;
	queue.descriptors = DESCRIPTORS;
	queue.available = AVAILABLE;
	queue.used = USED;
	queue.enabled = true;
	ck_assert(virtqueue_is_valid(&queue));
}

static void describe(unsigned table, unsigned index, uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
	uint8_t *at = memory + table + 16 * index;

	bytes_store_u64(at, address);
	bytes_store_u32(at + 8, length);
	bytes_store_u16(at + 12, (uint16_t)flags);
	bytes_store_u16(at + 14, (uint16_t)next);
}

static bool walk(uint16_t head)
{
	return virtqueue_walk(&queue, &board, head, &chain);
}

START_TEST(queues_that_cannot_be)
{
	static const struct virtqueue bad[] = {
		{ .max = 16, .size = 0 },
		{ .max = 16, .size = 12 },
		{ .max = 16, .size = 32 },
		{ .max = 16, .size = 16, .descriptors = 8 },
		{ .max = 16, .size = 16, .available = 1 },
		{ .max = 16, .size = 16, .used = 2 },
		{ .max = 16, .size = 16, .descriptors = UINT64_MAX - 15 },
		{ .max = 16, .size = 16, .available = UINT64_MAX - 1 },
		{ .max = 16, .size = 16, .used = UINT64_MAX - 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!virtqueue_is_valid(&bad[i]), "%zu", i);
}
END_TEST

START_TEST(available_indices)
{
	unsigned count;

	queue.taken = 0xFFFE;
	for (unsigned i = 0; i <= SIZE; i++) {
		bytes_store_u16(memory + AVAILABLE + 2, (uint16_t)(0xFFFE + i));
		ck_assert(virtqueue_available(&queue, &board, &count));
		ck_assert_uint_eq(count, i);
	}
	/* One more than there can be, and one back. */
	bytes_store_u16(memory + AVAILABLE + 2, (uint16_t)(0xFFFE + SIZE + 1));
	ck_assert(!virtqueue_available(&queue, &board, &count));
	bytes_store_u16(memory + AVAILABLE + 2, 0xFFFD);
	ck_assert(!virtqueue_available(&queue, &board, &count));
	queue.available = MEMORY - 2;
	ck_assert(!virtqueue_available(&queue, &board, &count));
}
END_TEST

START_TEST(direct_chains)
{
	describe(DESCRIPTORS, 3, 0x100, 10, NEXT, 7);
	describe(DESCRIPTORS, 7, 0x200, 0, NEXT, 0);
	describe(DESCRIPTORS, 0, 0x300, 20, NEXT | WRITE, 1);
	describe(DESCRIPTORS, 1, UINT64_MAX, UINT32_MAX, WRITE, 99);
	bytes_store_u16(memory + AVAILABLE + 4 + 2 * 5, 3);
	queue.taken = SIZE + 5;
	ck_assert(virtqueue_peek(&queue, &board, &chain));
	ck_assert_uint_eq(chain.head, 3);
	ck_assert_uint_eq(chain.readable, 2);
	ck_assert_uint_eq(chain.writable, 2);
	ck_assert_uint_eq(chain.readable_bytes, 10);
	ck_assert_uint_eq(chain.writable_bytes, 20 + (uint64_t)UINT32_MAX);
	ck_assert_uint_eq(chain.segments[2].address, 0x300);
	ck_assert_uint_eq(queue.taken, SIZE + 5);
	virtqueue_take(&queue);
	ck_assert_uint_eq(queue.taken, SIZE + 6);
}
END_TEST

START_TEST(indirect_chains)
{
	describe(DESCRIPTORS, 0, 0x100, 4, NEXT, 1);
	describe(DESCRIPTORS, 1, TABLE, 3 * 16, INDIRECT, 0);
	describe(TABLE, 0, 0x200, 5, NEXT, 2);
	describe(TABLE, 2, 0x300, 6, WRITE, 0);
	ck_assert(walk(0));
	ck_assert_uint_eq(chain.readable, 2);
	ck_assert_uint_eq(chain.writable, 1);
	ck_assert_uint_eq(chain.segments[1].address, 0x200);
	ck_assert_uint_eq(chain.segments[2].address, 0x300);
	/* As long as the queue, and no longer. */
	describe(DESCRIPTORS, 1, TABLE, 16 * 16, INDIRECT, 0);
	for (unsigned i = 0; i < 16; i++)
		describe(TABLE, i, 0x200, 5, i == SIZE - 2 ? 0 : NEXT, i + 1);
	ck_assert(walk(0));
	describe(TABLE, SIZE - 2, 0x200, 5, NEXT, SIZE - 1);
	describe(TABLE, SIZE - 1, 0x200, 5, 0, 0);
	ck_assert(!walk(0));
}
END_TEST

START_TEST(chains_that_cannot_be)
{
	describe(DESCRIPTORS, 0, 0x100, 4, NEXT, 1);
	describe(DESCRIPTORS, 1, 0x200, 4, 0, 0);
	ck_assert(walk(0));
	switch (_i) {
	case 0: /* a loop of one, of two */
		describe(DESCRIPTORS, 0, 0x100, 4, NEXT, 0);
		break;
	case 1:
		describe(DESCRIPTORS, 1, 0x100, 4, NEXT, 0);
		break;
	case 2: /* out of the table */
		describe(DESCRIPTORS, 0, 0x100, 4, NEXT, SIZE);
		break;
	case 3: /* to be read behind what is to be written */
		describe(DESCRIPTORS, 0, 0x100, 4, NEXT | WRITE, 1);
		break;
	case 4: /* tables that go on outside, that are empty, that end in an entry, that are nowhere, that nest */
		describe(DESCRIPTORS, 0, TABLE, 16, INDIRECT | NEXT, 1);
		break;
	case 5:
		describe(DESCRIPTORS, 0, TABLE, 0, INDIRECT, 0);
		break;
	case 6:
		describe(DESCRIPTORS, 0, TABLE, 24, INDIRECT, 0);
		break;
	case 7:
		describe(DESCRIPTORS, 0, MEMORY - 8, 16, INDIRECT, 0);
		break;
	case 8:
		describe(DESCRIPTORS, 0, TABLE, 16, INDIRECT, 0);
		describe(TABLE, 0, TABLE, 16, INDIRECT, 0);
		break;
	case 9:
		describe(DESCRIPTORS, 0, TABLE, 16, INDIRECT, 0);
		describe(TABLE, 0, 0x100, 4, NEXT, 1);
		break;
	case 10: /* a loop inside, in as large a table as there is */
		describe(DESCRIPTORS, 0, TABLE, 0xFFFFFFF0, INDIRECT, 0);
		describe(TABLE, 0, 0x100, 4, NEXT, 0);
		break;
	case 11: /* descriptors that are nowhere, or wrap */
		queue.descriptors = MEMORY - 8;
		break;
	default:
		queue.descriptors = UINT64_MAX - 15;
		break;
	}
	reads = 0;
	ck_assert(!walk(0));
	ck_assert_uint_le(reads, SIZE + 2); /* and it did not take long */
}
END_TEST

START_TEST(heads_that_cannot_be)
{
	bytes_store_u16(memory + AVAILABLE + 4, SIZE);
	ck_assert(!virtqueue_peek(&queue, &board, &chain));
	bytes_store_u16(memory + AVAILABLE + 4, 0xFFFF);
	ck_assert(!virtqueue_peek(&queue, &board, &chain));
}
END_TEST

START_TEST(scattered_bytes)
{
	uint8_t bytes[30], got[30];

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 1);
	describe(DESCRIPTORS, 0, 0x100, 10, NEXT | WRITE, 1);
	describe(DESCRIPTORS, 1, 0x300, 0, NEXT | WRITE, 2);
	describe(DESCRIPTORS, 2, 0x200, 20, WRITE, 0);
	ck_assert(walk(0));
	ck_assert(virtqueue_write(&chain, &board, 0, bytes, 30));
	ck_assert_mem_eq(memory + 0x100, bytes, 10);
	ck_assert_mem_eq(memory + 0x200, bytes + 10, 20);
	ck_assert_uint_eq(memory[0x300], 0);
	ck_assert(virtqueue_write(&chain, &board, 9, bytes, 2));
	ck_assert_uint_eq(memory[0x109], 1);
	ck_assert_uint_eq(memory[0x200], 2);
	ck_assert(!virtqueue_write(&chain, &board, 29, bytes, 2)); /* past its end */
	ck_assert(!virtqueue_read(&chain, &board, 0, got, 1));     /* nothing to read */
	for (unsigned i = 0; i < 3; i++)
		describe(DESCRIPTORS, i, 0x100 + 0x10 * i, 10, i < 2 ? NEXT : 0, i + 1);
	ck_assert(walk(0));
	ck_assert(virtqueue_read(&chain, &board, 5, got, 20));
	ck_assert_mem_eq(got, memory + 0x105, 5);
	ck_assert_mem_eq(got + 5, memory + 0x110, 10);
	ck_assert_mem_eq(got + 15, memory + 0x120, 5);
	ck_assert(!virtqueue_read(&chain, &board, 5, got, 26));
}
END_TEST

START_TEST(used_entries)
{
	bool interrupt = false;

	queue.done = 0xFFFF;
	bytes_store_u16(memory + AVAILABLE, 1);
	ck_assert(virtqueue_give_back(&queue, &board, 5, 1234, &interrupt));
	ck_assert(!interrupt);
	ck_assert_uint_eq(queue.done, 0);
	ck_assert_uint_eq(bytes_load_u16(memory + USED + 2), 0);
	ck_assert_uint_eq(bytes_load_u32(memory + USED + 4 + 8 * 7), 5);
	ck_assert_uint_eq(bytes_load_u32(memory + USED + 4 + 8 * 7 + 4), 1234);
	bytes_store_u16(memory + AVAILABLE, 0);
	ck_assert(virtqueue_give_back(&queue, &board, 6, 0, &interrupt));
	ck_assert(interrupt);
	ck_assert_uint_eq(bytes_load_u16(memory + USED + 2), 1);
	/* Of events: the one that was asked for. */
	queue.event_index = true;
	bytes_store_u16(memory + AVAILABLE + 4 + 2 * SIZE, 2);
	interrupt = false;
	ck_assert(virtqueue_give_back(&queue, &board, 6, 0, &interrupt));
	ck_assert(!interrupt);
	ck_assert(virtqueue_give_back(&queue, &board, 6, 0, &interrupt));
	ck_assert(interrupt);
	queue.taken = 77;
	ck_assert(virtqueue_ask(&queue, &board));
	ck_assert_uint_eq(bytes_load_u16(memory + USED + 4 + 8 * SIZE), 77);
	queue.used = MEMORY - 4;
	ck_assert(!virtqueue_give_back(&queue, &board, 6, 0, &interrupt));
	ck_assert(!virtqueue_ask(&queue, &board));
}
END_TEST

START_TEST(state)
{
	uint8_t bytes[64];
	struct virtqueue other = { .max = 16 };
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_reader reader;

	queue.taken = 0x1234;
	queue.done = 0x4321;
	queue.event_index = true;
	virtqueue_save(&queue, &writer);
	reader = bytes_reader_over(bytes, writer.used);
	ck_assert(!failed(virtqueue_load(&other, &reader)));
	ck_assert_uint_eq(reader.at, writer.used);
	ck_assert_uint_eq(other.taken, 0x1234);
	ck_assert_uint_eq(other.done, 0x4321);
	ck_assert(other.event_index && other.enabled);
	ck_assert_uint_eq(other.used, USED);
	bytes[0] = 3;
	reader = bytes_reader_over(bytes, writer.used);
	ck_assert(failed(virtqueue_load(&other, &reader)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtqueue");
	TCase *tests = tcase_create("split rings");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, queues_that_cannot_be);
	tcase_add_test(tests, available_indices);
	tcase_add_test(tests, direct_chains);
	tcase_add_test(tests, indirect_chains);
	tcase_add_loop_test(tests, chains_that_cannot_be, 0, 13);
	tcase_add_test(tests, heads_that_cannot_be);
	tcase_add_test(tests, scattered_bytes);
	tcase_add_test(tests, used_entries);
	tcase_add_test(tests, state);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
