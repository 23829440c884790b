#include "tests/unit/virtio_disk.h"

#include <string.h>

const struct board_pci_device virtio_disk_two[VIRTIO_DISKS] = {
	{ .kind = BOARD_PCI_DISK, .disk_size = DISK_SECTORS * 512, .serial = "tercet-disk-0" },
	{ .kind = BOARD_PCI_DISK, .disk_size = DISK_SECTORS * 512, .read_only = true },
};
struct virtio_world *virtio_disk_world;

void virtio_disk_setup(void)
{
	virtio_disk_world = virtio_world_create(virtio_disk_two, VIRTIO_DISKS);
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 0, VIRTIO_F_EVENT_IDX), 0x0F);
	ck_assert_uint_eq(virtio_world_start(virtio_disk_world, 1, VIRTIO_F_EVENT_IDX), 0x0F);
}

void virtio_disk_teardown(void)
{
	virtio_world_destroy(virtio_disk_world);
}

/* Each request has a header and a status of its own; DISK_HEADER and DISK_STATUS are those of the first. */
void virtio_disk_header_at(unsigned head, uint32_t type, uint64_t sector)
{
	uint8_t *at = virtio_disk_world->memory + DISK_HEADER + 0x40U * head;

	bytes_store_u32(at, type);
	bytes_store_u32(at + 4, 0);
	bytes_store_u64(at + 8, sector);
	at[0x20] = NOTHING;
}

void virtio_disk_header(uint32_t type, uint64_t sector)
{
	virtio_disk_header_at(0, type, sector);
}

/* A request in descriptors `head` to `head + 2`, without telling the device. */
void virtio_disk_prepare(unsigned device, unsigned head, uint32_t type, uint64_t sector, uint64_t data,
			 uint32_t length)
{
	uint64_t table = virtio_world_descriptors(device, 0);
	bool in = type == IN || type == GET_ID;

	virtio_disk_header_at(head, type, sector);
	virtio_world_describe(virtio_disk_world, table, head, DISK_HEADER + 0x40U * head, 16,
			      DESCRIPTOR_NEXT, length > 0 ? head + 1 : head + 2);
	virtio_world_describe(virtio_disk_world, table, head + 1, data, length,
			      DESCRIPTOR_NEXT | (in ? DESCRIPTOR_WRITE : 0U), head + 2);
	virtio_world_describe(virtio_disk_world, table, head + 2, DISK_STATUS + 0x40U * head, 1,
			      DESCRIPTOR_WRITE, 0);
	virtio_world_offer(virtio_disk_world, device, 0, (uint16_t)head);
}

void virtio_disk_request_of(unsigned device, uint32_t type, uint64_t sector, uint32_t length)
{
	virtio_disk_prepare(device, 0, type, sector, DISK_DATA, length);
	virtio_world_kick(virtio_disk_world, device, 0);
}

void virtio_disk_request(uint32_t type, uint64_t sector, uint32_t length)
{
	virtio_disk_request_of(0, type, sector, length);
}

struct device_disk_request virtio_disk_output(size_t at)
{
	struct bytes_reader reader = bytes_reader_over(virtio_disk_world->stream + at,
						       virtio_disk_world->streamed - at);
	struct device_disk_request request;

	ck_assert(!failed(device_disk_get(&reader, &request)));
	return request;
}

bool virtio_disk_done(uint64_t id, uint32_t status)
{
	const struct device_input input = { .kind = INPUT_DISK_DONE, .id = id, .status = status };

	return virtio_world_give(virtio_disk_world, &input);
}

struct device_input virtio_disk_piece(const struct device_fetch *fetch, uint64_t offset)
{
	struct device_input input = {
		.device = fetch->device,
		.kind = INPUT_DISK_READ,
		.id = fetch->id,
		.offset = offset,
		.total = fetch->length,
		.length = fetch->length - offset < 4096 ? (uint32_t)(fetch->length - offset) : 4096,
	};

	for (uint32_t i = 0; i < input.length; i++)
		input.data[i] = (uint8_t)((offset + i) * 13 + 5);
	return input;
}

void virtio_disk_must_hold(uint64_t address, size_t length)
{
	for (size_t i = 0; i < length; i++)
		ck_assert_uint_eq(virtio_disk_world->memory[address + i], (uint8_t)(i * 13 + 5));
}

void virtio_disk_range(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	bytes_store_u64(virtio_disk_world->memory + DISK_DATA, sector);
	bytes_store_u32(virtio_disk_world->memory + DISK_DATA + 8, sectors);
	bytes_store_u32(virtio_disk_world->memory + DISK_DATA + 12, flags);
}
