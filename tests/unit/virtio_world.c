#include "tests/unit/virtio_world.h"

#include <string.h>

static bool is_ram(uint64_t address, size_t length)
{
	return address <= WORLD_MEMORY && length <= WORLD_MEMORY - address;
}

static bool world_read(void *context, uint64_t address, void *data, size_t length)
{
	struct virtio_world *world = context;

	if (!is_ram(address, length))
		return false;
	memcpy(data, world->memory + address, length);
	return true;
}

static bool world_write(void *context, uint64_t address, const void *data, size_t length)
{
	struct virtio_world *world = context;

	if (!is_ram(address, length))
		return false;
	memcpy(world->memory + address, data, length);
	world->writes++;
	return true;
}

static size_t world_room(void *context)
{
	const struct virtio_world *world = context;

	return world->room;
}

static void world_output(void *context, enum output_channel channel, const void *data, size_t length)
{
	struct virtio_world *world = context;

	ck_assert_uint_le(length, world->room);
	ck_assert_uint_le(length, sizeof(world->stream) - world->streamed);
	memcpy(world->stream + world->streamed, data, length);
	world->streamed += length;
	world->room -= length;
	world->channel = channel;
}

static void world_fetch(void *context, const struct device_fetch *fetch)
{
	struct virtio_world *world = context;

	ck_assert_uint_lt(world->fetched, WORLD_FETCHES);
	world->fetches[world->fetched++] = *fetch;
}

static struct board *make_board(struct virtio_world *world, const struct board_pci_device *devices,
				size_t count)
{
	static const struct board_pci_device disk = {
		.kind = BOARD_PCI_DISK,
		.disk_size = 1 << 20,
		.serial = "tercet-disk-0",
	};
	const struct board_config config = {
		.ram_size = WORLD_MEMORY,
		.pci = devices ? devices : &disk,
		.pci_count = devices ? count : 1,
		.out = {
			.context = world,
			.output = world_output,
			.memory_read = world_read,
			.memory_write = world_write,
			.output_room = world_room,
			.fetch = world_fetch,
		},
	};
	struct board *board;
	result r = board_create(&board, &config);

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	return board;
}

struct virtio_world *virtio_world_create(const struct board_pci_device *devices, size_t count)
{
	struct virtio_world *world = calloc(1, sizeof(*world));

	ck_assert_ptr_nonnull(world);
	world->room = WORLD_STREAM;
	world->board = make_board(world, devices, count);
	return world;
}

void virtio_world_destroy(struct virtio_world *world)
{
	board_destroy(world->board);
	free(world);
}

static uint32_t in(struct virtio_world *world, unsigned port, unsigned size)
{
	uint8_t bytes[4] = { 0 };

	board_port_read(world->board, (uint16_t)port, size, bytes);
	return bytes_load_u32(bytes);
}

static void out(struct virtio_world *world, unsigned port, unsigned size, uint32_t value)
{
	uint8_t bytes[4];

	bytes_store_u32(bytes, value);
	board_port_write(world->board, (uint16_t)port, size, bytes);
}

static unsigned point_at(struct virtio_world *world, unsigned slot, unsigned offset)
{
	out(world, 0xCF8, 4, 0x80000000U | slot << 11 | (offset & 0xFCU));
	return 0xCFCU + (offset & 3U);
}

uint32_t virtio_world_config(struct virtio_world *world, unsigned slot, unsigned offset, unsigned size)
{
	return in(world, point_at(world, slot, offset), size);
}

void virtio_world_set_config(struct virtio_world *world, unsigned slot, unsigned offset, unsigned size,
			     uint32_t value)
{
	out(world, point_at(world, slot, offset), size, value);
}

uint32_t virtio_world_in(struct virtio_world *world, unsigned device, unsigned offset, unsigned size)
{
	return in(world, 0xC000U + device * 0x100U + offset, size);
}

void virtio_world_out(struct virtio_world *world, unsigned device, unsigned offset, unsigned size,
		      uint32_t value)
{
	out(world, 0xC000U + device * 0x100U + offset, size, value);
}

uint64_t virtio_world_descriptors(unsigned device, unsigned queue)
{
	return 0x10000U * (device + 1) + 0x4000U * queue;
}

uint64_t virtio_world_available(unsigned device, unsigned queue)
{
	return virtio_world_descriptors(device, queue) + 0x1000U;
}

uint64_t virtio_world_used(unsigned device, unsigned queue)
{
	return virtio_world_descriptors(device, queue) + 0x2000U;
}

static void set_queue(struct virtio_world *world, unsigned device, unsigned queue)
{
	virtio_world_out(world, device, 0x16, 2, queue);
	if (virtio_world_in(world, device, 0x18, 2) == 0)
		return;
	memset(world->memory + virtio_world_descriptors(device, queue), 0, 0x4000);
	world->offered[device][queue] = 0;
	virtio_world_out(world, device, 0x20, 4, (uint32_t)virtio_world_descriptors(device, queue));
	virtio_world_out(world, device, 0x24, 4, 0);
	virtio_world_out(world, device, 0x28, 4, (uint32_t)virtio_world_available(device, queue));
	virtio_world_out(world, device, 0x2C, 4, 0);
	virtio_world_out(world, device, 0x30, 4, (uint32_t)virtio_world_used(device, queue));
	virtio_world_out(world, device, 0x34, 4, 0);
	virtio_world_out(world, device, 0x1C, 2, 1);
}

uint8_t virtio_world_start(struct virtio_world *world, unsigned device, uint64_t without)
{
	virtio_world_out(world, device, 0x14, 1, 0);
	virtio_world_out(world, device, 0x14, 1, VIRTIO_ACKNOWLEDGE);
	virtio_world_out(world, device, 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned half = 0; half < 2; half++) {
		virtio_world_out(world, device, 0x00, 4, half);
		virtio_world_out(world, device, 0x08, 4, half);
		virtio_world_out(world, device, 0x0C, 4,
				 virtio_world_in(world, device, 0x04,
						 4) & ~(uint32_t)(without >> (32 * half)));
	}
	virtio_world_out(world, device, 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	for (unsigned queue = 0; queue < VIRTIO_QUEUES_MAX; queue++)
		set_queue(world, device, queue);
	virtio_world_out(world, device, 0x14, 1,
			 VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
	return virtio_world_status(world, device);
}

uint8_t virtio_world_status(struct virtio_world *world, unsigned device)
{
	return (uint8_t)virtio_world_in(world, device, 0x14, 1);
}

void virtio_world_describe(struct virtio_world *world, uint64_t table, unsigned index, uint64_t address,
			   uint32_t length, unsigned flags, unsigned next)
{
	uint8_t *at = world->memory + table + 16U * index;

	bytes_store_u64(at, address);
	bytes_store_u32(at + 8, length);
	bytes_store_u16(at + 12, (uint16_t)flags);
	bytes_store_u16(at + 14, (uint16_t)next);
}

void virtio_world_offer(struct virtio_world *world, unsigned device, unsigned queue, uint16_t head)
{
	uint8_t *ring = world->memory + virtio_world_available(device, queue);
	uint16_t *index = &world->offered[device][queue];

	virtio_world_out(world, device, 0x16, 2, queue);

	uint32_t size = virtio_world_in(world, device, 0x18, 2);

	bytes_store_u16(ring + 4 + 2U * (*index % size), head);
	bytes_store_u16(ring + 2, ++*index);
}

void virtio_world_kick(struct virtio_world *world, unsigned device, unsigned queue)
{
	virtio_world_out(world, device, VIRTIO_PCI_NOTIFY, 2, queue);
}

uint16_t virtio_world_done(const struct virtio_world *world, unsigned device, unsigned queue)
{
	return bytes_load_u16(world->memory + virtio_world_used(device, queue) + 2);
}

/* Sizes of queues are powers of two, of which all of these are multiples. */
static const uint8_t *last_entry(const struct virtio_world *world, unsigned device, unsigned queue)
{
	const uint8_t *ring = world->memory + virtio_world_used(device, queue);
	unsigned last = virtio_world_done(world, device, queue) - 1U;

	ck_assert_uint_lt(last, 8); /* smaller than any queue: tests that ask make few requests */
	return ring + 4 + 8U * last;
}

uint32_t virtio_world_last_head(const struct virtio_world *world, unsigned device, unsigned queue)
{
	return bytes_load_u32(last_entry(world, device, queue));
}

uint32_t virtio_world_last_length(const struct virtio_world *world, unsigned device, unsigned queue)
{
	return bytes_load_u32(last_entry(world, device, queue) + 4);
}

unsigned virtio_world_lines(struct virtio_world *world)
{
	out(world, 0xA0, 1, 0x0A); /* OCW3: read the IRR */
	return in(world, 0xA0, 1) & 0x0CU;
}

bool virtio_world_give(struct virtio_world *world, const struct device_input *input)
{
	if (board_input_fits(world->board, input) != DEVICE_INPUT_FITS)
		return false;
	board_input(world->board, input);
	return true;
}

void virtio_world_move(struct virtio_world *world, const struct board_pci_device *devices, size_t count)
{
	static uint8_t bytes[WORLD_STATE], again[WORLD_STATE];
	struct board *to = make_board(world, devices, count);
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	struct bytes_writer other = bytes_writer_over(again, sizeof(again));

	board_save(world->board, &writer);
	ck_assert(!writer.overflow);

	struct bytes_reader reader = bytes_reader_over(bytes, writer.used);
	result r = board_load(to, &reader);

	ck_assert_msg(!failed(r), "%s", failed(r) ? r.failure->message : "");
	board_save(to, &other);
	ck_assert_uint_eq(other.used, writer.used);
	ck_assert_mem_eq(bytes, again, writer.used);
	board_destroy(world->board);
	world->board = to;
}
