#include "devices/pci.h"

#include <stdlib.h>
#include <string.h>

#define ADDRESS_ENABLE 0x80000000U
#define ADDRESS_WRITABLE 0x80FFFFFCU
#define ADDRESS_REGISTER 0xFCU
#define ADDRESS_OFFSET 0U /* of the two registers in their region */
#define RESET_OFFSET 1U
#define DATA_OFFSET 4U

#define BRIDGE_VENDOR 0x1B36U /* Red Hat's, who gave the number to bridges without anything of their own */
#define BRIDGE_DEVICE 0x0008U
#define BRIDGE_CLASS 0x060000U

/* Configuration space, header type 0. */
enum {
	CONFIG_VENDOR = 0x00,
	CONFIG_DEVICE = 0x02,
	CONFIG_COMMAND = 0x04,
	CONFIG_STATUS = 0x06,
	CONFIG_REVISION = 0x08, /* and the class code behind it */
	CONFIG_CACHE_LINE = 0x0C,
	CONFIG_LATENCY = 0x0D,
	CONFIG_BAR = 0x10,
	CONFIG_SUBSYSTEM_VENDOR = 0x2C,
	CONFIG_SUBSYSTEM = 0x2E,
	CONFIG_CAPABILITIES = 0x34,
	CONFIG_LINE = 0x3C,
	CONFIG_PIN = 0x3D,
	CONFIG_HEADER_END = 0x40,
};

#define COMMAND_IO 0x0001U
#define COMMAND_MASTER 0x0004U
#define COMMAND_NO_INTERRUPT 0x0400U
#define COMMAND_WRITABLE 0x0547U /* I/O, memory, master, parity, SERR, interrupt disable */
#define STATUS_INTERRUPT 0x0008U
#define STATUS_CAPABILITIES 0x0010U
#define BAR_IO 0x1U
#define BAR_MASK ((uint32_t) ~(VIRTIO_PCI_BAR_SIZE - 1U))
#define PIN_A 1U
#define REVISION 1U /* what is modern has a revision of at least 1 (virtio 1.2, 4.1.2.1) */

static unsigned line_of(size_t function)
{
	return PCI_IRQ_FIRST + (unsigned)(function % PCI_IRQ_COUNT);
}

static bool asserts_line(const struct pci_function *function)
{
	return function->device.virtio.interrupts != 0 && !(function->command & COMMAND_NO_INTERRUPT);
}

/* To be called behind all that can change a function's interrupt. */
static void drive_lines(const struct pci *pci)
{
	bool levels[PCI_IRQ_COUNT] = { false };

	for (size_t i = 0; i < pci->count; i++)
		levels[i % PCI_IRQ_COUNT] |= asserts_line(&pci->functions[i]);
	for (unsigned i = 0; i < PCI_IRQ_COUNT; i++)
		pci->board->set_irq(pci->board->context, PCI_IRQ_FIRST + i, levels[i]);
}

static uint32_t part_of(const uint8_t *image, unsigned offset, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)image[offset + i] << (8 * i);
	return value;
}

static uint32_t bridge_read(unsigned offset, unsigned size)
{
	uint8_t image[CONFIG_HEADER_END] = { 0 };

	if (offset >= CONFIG_HEADER_END)
		return 0;
	bytes_store_u16(image + CONFIG_VENDOR, BRIDGE_VENDOR);
	bytes_store_u16(image + CONFIG_DEVICE, BRIDGE_DEVICE);
	bytes_store_u32(image + CONFIG_REVISION, BRIDGE_CLASS << 8);
	return part_of(image, offset, size);
}

static uint32_t function_read(struct pci_function *function, unsigned offset, unsigned size)
{
	const struct virtio_model *model = function->device.virtio.model;
	uint8_t image[CONFIG_HEADER_END] = { 0 };

	if (offset >= CONFIG_HEADER_END)
		return virtio_pci_read_capability(&function->registers, &function->device.virtio, offset,
						  size);
	bytes_store_u16(image + CONFIG_VENDOR, VIRTIO_PCI_VENDOR);
	bytes_store_u16(image + CONFIG_DEVICE, (uint16_t)(VIRTIO_PCI_DEVICE + model->id));
	bytes_store_u16(image + CONFIG_COMMAND, function->command);
	bytes_store_u16(image + CONFIG_STATUS, function->device.virtio.interrupts
						       ? STATUS_CAPABILITIES | STATUS_INTERRUPT
						       : STATUS_CAPABILITIES);
	bytes_store_u32(image + CONFIG_REVISION, model->class_code << 8 | REVISION);
	image[CONFIG_CACHE_LINE] = function->cache_line;
	image[CONFIG_LATENCY] = function->latency;
	bytes_store_u32(image + CONFIG_BAR, function->bar | BAR_IO);
	bytes_store_u16(image + CONFIG_SUBSYSTEM_VENDOR, VIRTIO_PCI_VENDOR);
	bytes_store_u16(image + CONFIG_SUBSYSTEM, (uint16_t)(VIRTIO_PCI_DEVICE + model->id));
	image[CONFIG_CAPABILITIES] = VIRTIO_PCI_CAPABILITIES;
	image[CONFIG_LINE] = function->line;
	image[CONFIG_PIN] = PIN_A;
	return part_of(image, offset, size);
}

static void header_write(struct pci_function *function, unsigned offset, uint8_t value)
{
	unsigned shift = 8 * (offset & 3U);

	switch (offset) {
	case CONFIG_COMMAND:
	case CONFIG_COMMAND + 1:
		function->command &= (uint16_t)~(0xFFU << shift);
		function->command |= (uint16_t)((uint32_t)value << shift & COMMAND_WRITABLE);
		break;
	case CONFIG_CACHE_LINE:
		function->cache_line = value;
		break;
	case CONFIG_LATENCY:
		function->latency = value;
		break;
	case CONFIG_BAR:
	case CONFIG_BAR + 1:
	case CONFIG_BAR + 2:
	case CONFIG_BAR + 3:
		function->bar &= ~(0xFFU << shift);
		function->bar |= (uint32_t)value << shift & BAR_MASK;
		break;
	case CONFIG_LINE:
		function->line = value;
		break;
	default:
		break;
	}
}

static void function_write(struct pci_function *function, unsigned offset, unsigned size, uint32_t value)
{
	if (offset >= CONFIG_HEADER_END) {
		virtio_pci_write_capability(&function->registers, &function->device.virtio, offset, size,
					    value);
		return;
	}
	for (unsigned i = 0; i < size; i++)
		header_write(function, offset + i, (uint8_t)(value >> (8 * i)));
}

/* Number of the device on bus 0 that the address register names,
	0 being the bridge; BOARD_PCI_MAX + 1 for none. */
static size_t addressed(const struct pci *pci)
{
	size_t device = pci->address >> 11 & 0x1FU;

	if (!(pci->address & ADDRESS_ENABLE) || (pci->address & 0x00FF0700U) || device > pci->count)
		return BOARD_PCI_MAX + 1;
	return device;
}

static uint64_t config_read(struct pci *pci, const struct device_access *access)
{
	size_t device = addressed(pci);
	unsigned offset = (pci->address & ADDRESS_REGISTER) + ((unsigned)access->offset & 3U);

	if (pci->count == 0)
		return UINT64_MAX;
	if (access->offset == ADDRESS_OFFSET && access->size == 4)
		return pci->address;
	if (access->offset < DATA_OFFSET || device > BOARD_PCI_MAX)
		return UINT64_MAX;
	if (device == 0)
		return bridge_read(offset, access->size);
	return function_read(&pci->functions[device - 1], offset, access->size);
}

static void config_write(struct pci *pci, const struct device_access *access, uint32_t value)
{
	size_t device = addressed(pci);
	unsigned offset = (pci->address & ADDRESS_REGISTER) + ((unsigned)access->offset & 3U);

	if (pci->count == 0)
		return;
	if (access->offset == ADDRESS_OFFSET && access->size == 4)
		pci->address = value & ADDRESS_WRITABLE;
	else if (access->offset >= DATA_OFFSET && device > 0 && device <= BOARD_PCI_MAX)
		function_write(&pci->functions[device - 1], offset, access->size, value);
}

/* The function that answers at a port; the first, if a guest made BARs overlap. */
static struct pci_function *decode(struct pci *pci, uint32_t port)
{
	for (size_t i = 0; i < pci->count; i++)
		if ((pci->functions[i].command & COMMAND_IO) && pci->functions[i].bar == (port & BAR_MASK))
			return &pci->functions[i];
	return NULL;
}

static bool is_reset_control(const struct device_access *access)
{
	return access->region == PCI_CONFIG && access->offset == RESET_OFFSET && access->size == 1;
}

/* The access as the reset control register sees it. */
static struct device_access reset_access(const struct device_access *access)
{
	struct device_access to = *access;

	to.region = RESET_CONTROL_PCI;
	return to;
}

static uint64_t pci_read(void *device, const struct device_access *access)
{
	struct pci *pci = device;
	uint64_t value = UINT64_MAX;

	if (is_reset_control(access)) {
		struct device_access to = reset_access(access);

		return reset_control_model.read(pci->reset_control, &to);
	}
	if (access->region == PCI_CONFIG) {
		value = config_read(pci, access);
	} else {
		uint32_t port = PCI_WINDOW_PORT + (uint32_t)access->offset;
		struct pci_function *function = decode(pci, port);

		if (function)
			value = virtio_pci_read(&function->registers, &function->device.virtio,
						port % VIRTIO_PCI_BAR_SIZE, access->size);
	}
	drive_lines(pci);
	return value;
}

static void pci_write(void *device, const struct device_access *access, uint64_t value)
{
	struct pci *pci = device;

	if (is_reset_control(access)) {
		struct device_access to = reset_access(access);

		reset_control_model.write(pci->reset_control, &to, value);
		return;
	}
	if (access->region == PCI_CONFIG) {
		config_write(pci, access, (uint32_t)value);
	} else {
		uint32_t port = PCI_WINDOW_PORT + (uint32_t)access->offset;
		struct pci_function *function = decode(pci, port);

		if (function)
			virtio_pci_write(&function->registers, &function->device.virtio,
					 port % VIRTIO_PCI_BAR_SIZE, access->size, (uint32_t)value);
	}
	drive_lines(pci);
}

uint8_t pci_level_lines(const struct pci *pci)
{
	return pci->count > 0 ? PCI_ELCR_SLAVE : 0;
}

enum device_input_fit pci_input_fits(const struct pci *pci, const struct device_input *input)
{
	if (input->device >= pci->count)
		return DEVICE_INPUT_NEVER;

	const struct virtio *virtio = &pci->functions[input->device].device.virtio;

	return virtio->model->fits(virtio, input);
}

void pci_input(struct pci *pci, const struct device_input *input)
{
	invariant(pci_input_fits(pci, input) == DEVICE_INPUT_FITS);

	struct virtio *virtio = &pci->functions[input->device].device.virtio;

	virtio->model->input(virtio, input);
	drive_lines(pci);
}

void pci_resume(struct pci *pci)
{
	for (size_t i = 0; i < pci->count; i++)
		for (unsigned queue = 0; queue < VIRTIO_QUEUES_MAX; queue++)
			virtio_notify(&pci->functions[i].device.virtio, queue);
	drive_lines(pci);
}

void pci_fetch_again(const struct pci *pci)
{
	for (size_t i = 0; i < pci->count; i++) {
		const struct virtio *virtio = &pci->functions[i].device.virtio;

		if (virtio->model->fetch_again)
			virtio->model->fetch_again(virtio);
	}
}

static result init_disk(struct pci_function *function, const struct board_pci_device *device)
{
	if (device->disk_size == 0 || device->disk_size % VIRTIO_BLK_SECTOR != 0 ||
	    device->disk_size > INT64_MAX)
		return fail(STATUS_INPUT,
			    "a disk cannot have %llu bytes: it needs whole sectors of %d, and at least one",
			    (unsigned long long)device->disk_size, VIRTIO_BLK_SECTOR);
	virtio_blk_init(&function->device.blk, device->disk_size, device->read_only, device->serial);
	return OK;
}

static result init_function(struct pci *pci, size_t index, const struct board_pci_device *device)
{
	static const struct virtio_model *const models[] = {
		[BOARD_PCI_DISK] = &virtio_blk_model,
		[BOARD_PCI_NET] = &virtio_net_model,
		[BOARD_PCI_RNG] = &virtio_rng_model,
		[BOARD_PCI_CONSOLE] = &virtio_console_model,
	};
	struct pci_function *function = &pci->functions[index];

	if ((unsigned)device->kind >= ARRAY_SIZE(models) || !models[device->kind])
		return fail(STATUS_INPUT, "there is no PCI device of kind %d", (int)device->kind);
	function->kind = device->kind;
	virtio_init(&function->device.virtio, models[device->kind], pci->board, (uint32_t)index,
		    pci->scratch);
	if (device->kind == BOARD_PCI_DISK)
		return init_disk(function, device);
	if (device->kind == BOARD_PCI_NET)
		virtio_net_init(&function->device.net, device->mac);
	return OK;
}

result pci_init(struct pci *pci, const struct device_board *board, const struct board_pci_device *devices,
		size_t count, struct reset_control *reset_control)
{
	pci->board = board;
	pci->reset_control = reset_control;
	if (count > BOARD_PCI_MAX)
		return fail(STATUS_INPUT, "%zu PCI devices are too many: the bus takes %d", count,
			    BOARD_PCI_MAX);
	pci->count = count;
	if (count == 0)
		return OK;
	pci->scratch = malloc(VIRTIO_SCRATCH_SIZE);
	if (!pci->scratch)
		return fail(STATUS_FAILED, "out of memory for the PCI devices of a machine");
	for (size_t i = 0; i < count; i++)
		TRY(init_function(pci, i, &devices[i]));
	return OK;
}

void pci_destroy(struct pci *pci)
{
	free(pci->scratch);
	pci->scratch = NULL;
}

static void pci_reset(void *device, uint64_t now)
{
	struct pci *pci = device;

	(void)now;
	pci->address = 0;
	for (size_t i = 0; i < pci->count; i++) {
		struct pci_function *function = &pci->functions[i];

		function->command = COMMAND_IO | COMMAND_MASTER;
		function->bar = PCI_WINDOW_PORT + (uint32_t)i * VIRTIO_PCI_BAR_SIZE;
		function->cache_line = 0;
		function->latency = 0;
		function->line = (uint8_t)line_of(i);
		function->registers = (struct virtio_pci){ 0 };
		virtio_reset(&function->device.virtio);
	}
	drive_lines(pci);
}

/* address u32, functions u32; of each: kind u8, command u16, BAR u32, cache line,
	latency and interrupt line u8, and
 * what its registers and its device save. */
static void pci_save(const void *device, struct bytes_writer *writer)
{
	const struct pci *pci = device;

	bytes_put_u32(writer, pci->address);
	bytes_put_u32(writer, (uint32_t)pci->count);
	for (size_t i = 0; i < pci->count; i++) {
		const struct pci_function *function = &pci->functions[i];

		bytes_put_u8(writer, (uint8_t)function->kind);
		bytes_put_u16(writer, function->command);
		bytes_put_u32(writer, function->bar);
		bytes_put_u8(writer, function->cache_line);
		bytes_put_u8(writer, function->latency);
		bytes_put_u8(writer, function->line);
		virtio_pci_save(&function->registers, writer);
		virtio_save(&function->device.virtio, writer);
	}
}

static result load_function(struct pci_function *function, struct bytes_reader *reader)
{
	if (bytes_get_u8(reader) != (uint8_t)function->kind)
		return fail(STATUS_INPUT, "saved state is of a machine with other PCI devices");
	function->command = bytes_get_u16(reader);
	function->bar = bytes_get_u32(reader);
	function->cache_line = bytes_get_u8(reader);
	function->latency = bytes_get_u8(reader);
	function->line = bytes_get_u8(reader);
	virtio_pci_load(&function->registers, reader);
	if ((function->command & ~COMMAND_WRITABLE) || (function->bar & ~BAR_MASK))
		return fail(STATUS_INPUT, "state of a PCI function is not valid");
	return virtio_load(&function->device.virtio, reader);
}

static result pci_load(void *device, struct bytes_reader *reader, uint64_t now)
{
	struct pci *pci = device;

	(void)now;
	pci->address = bytes_get_u32(reader);
	if (pci->address & ~ADDRESS_WRITABLE)
		return fail(STATUS_INPUT, "state of the PCI bridge is not valid");
	if (bytes_get_u32(reader) != pci->count)
		return fail(STATUS_INPUT, "saved state is of a machine with other PCI devices");
	for (size_t i = 0; i < pci->count; i++)
		TRY(load_function(&pci->functions[i], reader));
	return OK;
}

const struct device_model pci_model = {
	.name = "pci",
	.reset = pci_reset,
	.read = pci_read,
	.write = pci_write,
	.save = pci_save,
	.load = pci_load,
};
