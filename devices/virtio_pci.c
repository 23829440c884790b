#include "devices/virtio_pci.h"

#include <string.h>

#define NO_VECTOR 0xFFFFU

/* Registers of the common configuration (4.1.4.3). */
enum {
	COMMON_OFFERED_SELECT = 0x00,
	COMMON_OFFERED = 0x04,
	COMMON_ACCEPTED_SELECT = 0x08,
	COMMON_ACCEPTED = 0x0C,
	COMMON_CONFIG_VECTOR = 0x10,
	COMMON_QUEUES = 0x12,
	COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1A,
	COMMON_QUEUE_ENABLE = 0x1C,
	COMMON_QUEUE_NOTIFY_OFFSET = 0x1E,
	COMMON_QUEUE_DESCRIPTORS = 0x20,
	COMMON_QUEUE_AVAILABLE = 0x28,
	COMMON_QUEUE_USED = 0x30,
	COMMON_END = 0x38,
};

/* Widths of the registers; the halves of 64-bit ones count singly. */
static const uint8_t common_width[COMMON_END] = {
	[COMMON_OFFERED_SELECT] = 4,
	[COMMON_OFFERED] = 4,
	[COMMON_ACCEPTED_SELECT] = 4,
	[COMMON_ACCEPTED] = 4,
	[COMMON_CONFIG_VECTOR] = 2,
	[COMMON_QUEUES] = 2,
	[COMMON_STATUS] = 1,
	[COMMON_GENERATION] = 1,
	[COMMON_QUEUE_SELECT] = 2,
	[COMMON_QUEUE_SIZE] = 2,
	[COMMON_QUEUE_VECTOR] = 2,
	[COMMON_QUEUE_ENABLE] = 2,
	[COMMON_QUEUE_NOTIFY_OFFSET] = 2,
	[COMMON_QUEUE_DESCRIPTORS] = 4,
	[COMMON_QUEUE_DESCRIPTORS + 4] = 4,
	[COMMON_QUEUE_AVAILABLE] = 4,
	[COMMON_QUEUE_AVAILABLE + 4] = 4,
	[COMMON_QUEUE_USED] = 4,
	[COMMON_QUEUE_USED + 4] = 4,
};

/* The selected queue, or NULL if there is none of that number. */
static struct virtqueue *selected(const struct virtio_pci *registers, struct virtio *virtio)
{
	if (registers->queue_select >= VIRTIO_QUEUES_MAX || virtio->queues[registers->queue_select].max == 0)
		return NULL;
	return &virtio->queues[registers->queue_select];
}

static uint64_t *queue_address(struct virtqueue *queue, unsigned offset)
{
	switch (offset & ~7U) {
	case COMMON_QUEUE_DESCRIPTORS:
		return &queue->descriptors;
	case COMMON_QUEUE_AVAILABLE:
		return &queue->available;
	default:
		return &queue->used;
	}
}

static uint32_t read_queue(struct virtqueue *queue, unsigned offset)
{
	switch (offset) {
	case COMMON_QUEUE_SIZE:
		return queue->size;
	case COMMON_QUEUE_ENABLE:
		return queue->enabled;
	case COMMON_QUEUE_NOTIFY_OFFSET:
		return 0;
	default:
		return (uint32_t)(*queue_address(queue, offset) >> (offset & 4U ? 32 : 0));
	}
}

static uint32_t half_of(uint64_t value, uint32_t half)
{
	return half > 1 ? 0 : (uint32_t)(value >> (32 * half));
}

static uint16_t count_queues(const struct virtio *virtio)
{
	uint16_t count = 0;

	while (count < VIRTIO_QUEUES_MAX && virtio->queues[count].max > 0)
		count++;
	return count;
}

static uint32_t read_common(struct virtio_pci *registers, struct virtio *virtio, unsigned offset)
{
	struct virtqueue *queue = selected(registers, virtio);

	switch (offset) {
	case COMMON_OFFERED_SELECT:
		return registers->offered_select;
	case COMMON_OFFERED:
		return half_of(virtio_offered(virtio), registers->offered_select);
	case COMMON_ACCEPTED_SELECT:
		return registers->accepted_select;
	case COMMON_ACCEPTED:
		return half_of(virtio->features, registers->accepted_select);
	case COMMON_CONFIG_VECTOR:
	case COMMON_QUEUE_VECTOR:
		return NO_VECTOR;
	case COMMON_QUEUES:
		return count_queues(virtio);
	case COMMON_STATUS:
		return virtio->status;
	case COMMON_GENERATION:
		return 0; /* no configuration ever changes */
	case COMMON_QUEUE_SELECT:
		return registers->queue_select;
	default:
		return queue ? read_queue(queue, offset) : 0;
	}
}

static void write_queue(struct virtqueue *queue, unsigned offset, uint32_t value)
{
	/* A ring does not move while it is in use. */
	if (queue->enabled || offset == COMMON_QUEUE_NOTIFY_OFFSET)
		return;
	if (offset == COMMON_QUEUE_SIZE) {
		queue->size = (uint16_t)value;
		return;
	}

	uint64_t *address = queue_address(queue, offset);
	unsigned shift = offset & 4U ? 32 : 0;

	*address = (*address & ~(UINT64_C(0xFFFFFFFF) << shift)) | (uint64_t)value << shift;
}

static void write_common(struct virtio_pci *registers, struct virtio *virtio, unsigned offset, uint32_t value)
{
	struct virtqueue *queue = selected(registers, virtio);

	switch (offset) {
	case COMMON_OFFERED_SELECT:
		registers->offered_select = value;
		break;
	case COMMON_ACCEPTED_SELECT:
		registers->accepted_select = value;
		break;
	case COMMON_ACCEPTED:
		virtio_accept(virtio, registers->accepted_select > 1 ? 2 : registers->accepted_select, value);
		break;
	case COMMON_STATUS:
		virtio_set_status(virtio, (uint8_t)value);
		break;
	case COMMON_QUEUE_SELECT:
		registers->queue_select = (uint16_t)value;
		break;
	case COMMON_QUEUE_ENABLE:
		if (queue && value == 1)
			virtio_enable(virtio, registers->queue_select);
		break;
	case COMMON_OFFERED:
	case COMMON_CONFIG_VECTOR:
	case COMMON_QUEUE_VECTOR:
	case COMMON_QUEUES:
	case COMMON_GENERATION:
		break;
	default:
		if (queue)
			write_queue(queue, offset, value);
		break;
	}
}

static bool is_common(unsigned offset, unsigned size)
{
	return offset < COMMON_END && common_width[offset] == size;
}

uint32_t virtio_pci_read(struct virtio_pci *registers, struct virtio *virtio, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	if (is_common(offset, size))
		return read_common(registers, virtio, offset);
	if (offset == VIRTIO_PCI_ISR) {
		value = virtio->interrupts;
		virtio->interrupts = 0;
		return value;
	}
	if (offset >= VIRTIO_PCI_CONFIG)
		for (unsigned i = 0; i < size; i++)
			value |= (uint32_t)virtio->model->config(virtio,
								 offset - VIRTIO_PCI_CONFIG + i) << (8 * i);
	return value;
}

void virtio_pci_write(struct virtio_pci *registers, struct virtio *virtio, unsigned offset, unsigned size,
		      uint32_t value)
{
	if (is_common(offset, size))
		write_common(registers, virtio, offset, value);
	else if (offset == VIRTIO_PCI_NOTIFY)
		virtio_notify(virtio, value & 0xFFFFU);
}

#define CAPABILITY_VENDOR 0x09U
#define CAPABILITY_COMMON 1U
#define CAPABILITY_NOTIFY 2U
#define CAPABILITY_ISR 3U
#define CAPABILITY_DEVICE 4U
#define CAPABILITY_WINDOW 5U
#define WINDOW 0x84U /* in configuration space */
#define WINDOW_BAR (WINDOW + 4U)
#define WINDOW_OFFSET (WINDOW + 8U)
#define WINDOW_LENGTH (WINDOW + 12U)
#define WINDOW_DATA (WINDOW + 16U)

/* Next capability, length, type, then the BAR's number, offset and length there (4.1.4). */
static const struct {
	uint8_t at, next, length, type;
	uint32_t offset, size;
} capabilities[] = {
	{ 0x40, 0x50, 16, CAPABILITY_COMMON, VIRTIO_PCI_COMMON, 0x40 },
	{ 0x50, 0x60, 16, CAPABILITY_ISR, VIRTIO_PCI_ISR, 4 },
	{ 0x60, 0x70, 16, CAPABILITY_DEVICE, VIRTIO_PCI_CONFIG, VIRTIO_PCI_BAR_SIZE - VIRTIO_PCI_CONFIG },
	{ 0x70, WINDOW, 20, CAPABILITY_NOTIFY, VIRTIO_PCI_NOTIFY, 4 }, /* behind it: multiplier 0 */
	{ WINDOW, 0, 20, CAPABILITY_WINDOW, 0, 0 },
};

/* Whether the window shows something that an access of its length could reach. */
static bool window_is_open(const struct virtio_pci *registers)
{
	uint32_t length = registers->window_length;

	return registers->window_bar == 0 && (length == 1 || length == 2 || length == 4) &&
	       registers->window_offset % length == 0 && registers->window_offset < VIRTIO_PCI_BAR_SIZE;
}

uint32_t virtio_pci_read_capability(struct virtio_pci *registers, struct virtio *virtio, unsigned offset,
				    unsigned size)
{
	uint8_t image[VIRTIO_PCI_CAPABILITIES_END + sizeof(uint32_t)] = { 0 };
	uint32_t value = 0;

	if (offset == WINDOW_DATA && window_is_open(registers))
		return virtio_pci_read(registers, virtio, registers->window_offset, registers->window_length);
	if (offset >= VIRTIO_PCI_CAPABILITIES_END)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(capabilities); i++) {
		uint8_t *at = image + capabilities[i].at;

		at[0] = CAPABILITY_VENDOR;
		at[1] = capabilities[i].next;
		at[2] = capabilities[i].length;
		at[3] = capabilities[i].type;
		bytes_store_u32(at + 8, capabilities[i].offset);
		bytes_store_u32(at + 12, capabilities[i].size);
	}
	image[WINDOW_BAR] = registers->window_bar;
	bytes_store_u32(image + WINDOW_OFFSET, registers->window_offset);
	bytes_store_u32(image + WINDOW_LENGTH, registers->window_length);
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)image[offset + i] << (8 * i);
	return value;
}

/* Puts `size` bytes into the register at `base` that an access at `offset` reaches. */
static void merge(uint32_t *into, unsigned base, unsigned offset, unsigned size, uint32_t value)
{
	uint8_t bytes[sizeof(*into)];

	bytes_store_u32(bytes, *into);
	for (unsigned i = 0; i < size && offset - base + i < sizeof(bytes); i++)
		bytes[offset - base + i] = (uint8_t)(value >> (8 * i));
	*into = bytes_load_u32(bytes);
}

void virtio_pci_write_capability(struct virtio_pci *registers, struct virtio *virtio, unsigned offset,
				 unsigned size, uint32_t value)
{
	switch (offset & ~3U) {
	case WINDOW_BAR:
		if (offset == WINDOW_BAR)
			registers->window_bar = (uint8_t)value;
		break;
	case WINDOW_OFFSET:
		merge(&registers->window_offset, WINDOW_OFFSET, offset, size, value);
		break;
	case WINDOW_LENGTH:
		merge(&registers->window_length, WINDOW_LENGTH, offset, size, value);
		break;
	case WINDOW_DATA:
		if (offset == WINDOW_DATA && window_is_open(registers))
			virtio_pci_write(registers, virtio, registers->window_offset,
					 registers->window_length,
					 value);
		break;
	default:
		break;
	}
}

void virtio_pci_save(const struct virtio_pci *registers, struct bytes_writer *writer)
{
	bytes_put_u32(writer, registers->offered_select);
	bytes_put_u32(writer, registers->accepted_select);
	bytes_put_u16(writer, registers->queue_select);
	bytes_put_u8(writer, registers->window_bar);
	bytes_put_u32(writer, registers->window_offset);
	bytes_put_u32(writer, registers->window_length);
}

void virtio_pci_load(struct virtio_pci *registers, struct bytes_reader *reader)
{
	registers->offered_select = bytes_get_u32(reader);
	registers->accepted_select = bytes_get_u32(reader);
	registers->queue_select = bytes_get_u16(reader);
	registers->window_bar = bytes_get_u8(reader);
	registers->window_offset = bytes_get_u32(reader);
	registers->window_length = bytes_get_u32(reader);
}
