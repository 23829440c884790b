#include "devices/pci.h"

#include "tests/unit/virtio_world.h"

static const struct board_pci_device three[] = {
	{ .kind = BOARD_PCI_DISK, .disk_size = 1 << 20 },
	{ .kind = BOARD_PCI_DISK, .disk_size = 1 << 21, .read_only = true },
	{ .kind = BOARD_PCI_DISK, .disk_size = 512 },
};
static struct virtio_world *world;

static void setup(void)
{
	world = virtio_world_create(three, ARRAY_SIZE(three));
}

static void teardown(void)
{
	virtio_world_destroy(world);
}

static uint32_t in32(unsigned port)
{
	uint32_t value;

	board_port_read(world->board, (uint16_t)port, 4, &value);
	return value;
}

START_TEST(mechanism_1)
{
	uint32_t value = 0x80000000;
	uint8_t byte = 0x01;

	/* Linux's pci_check_type1. */
	board_port_write(world->board, 0xCFB, 1, &byte);
	board_port_write(world->board, 0xCF8, 4, &value);
	ck_assert_uint_eq(in32(0xCF8), 0x80000000);
	/* A host bridge, by its class. */
	ck_assert_uint_eq(virtio_world_config(world, 0, 0x0A, 2), 0x0600);
	ck_assert_uint_eq(virtio_world_config(world, 0, 0x00, 4), 0x00081B36);
	ck_assert_uint_eq(virtio_world_config(world, 0, 0x0E, 1), 0);
	ck_assert_uint_eq(virtio_world_config(world, 0, 0x40, 4), 0);
	virtio_world_set_config(world, 0, 0x10, 4, 0xFFFFFFFF);
	ck_assert_uint_eq(virtio_world_config(world, 0, 0x10, 4), 0);
	/* Nobody at home. */
	ck_assert_uint_eq(virtio_world_config(world, 4, 0x00, 4), 0xFFFFFFFF);
	ck_assert_uint_eq(virtio_world_config(world, 31, 0x00, 2), 0xFFFF);
	value = 0x80000800 | 1 << 8; /* 00:01.1 */
	board_port_write(world->board, 0xCF8, 4, &value);
	ck_assert_uint_eq(in32(0xCFC), 0xFFFFFFFF);
	value = 0x80010800; /* 01:01.0 */
	board_port_write(world->board, 0xCF8, 4, &value);
	ck_assert_uint_eq(in32(0xCFC), 0xFFFFFFFF);
	value = 0x00000800; /* not enabled */
	board_port_write(world->board, 0xCF8, 4, &value);
	ck_assert_uint_eq(in32(0xCFC), 0xFFFFFFFF);
}
END_TEST

START_TEST(header)
{
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x00, 4), 0x10421AF4);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x02, 2), 0x1042);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x03, 1), 0x10);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x08, 4), 0x01000001);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x2C, 4), 0x10421AF4);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x34, 1), 0x40);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x06, 2), 0x0010);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_uint_eq(virtio_world_config(world, 1 + i, 0x10, 4), 0xC001 + 0x100 * i);
		ck_assert_uint_eq(virtio_world_config(world, 1 + i, 0x3C, 2), 0x010A + i % 2);
		ck_assert_uint_eq(virtio_world_config(world, 1 + i, 0x04, 2) & 1, 1);
	}
	for (unsigned bar = 1; bar < 6; bar++) {
		virtio_world_set_config(world, 1, 0x10 + 4 * bar, 4, 0xFFFFFFFF);
		ck_assert_uint_eq(virtio_world_config(world, 1, 0x10 + 4 * bar, 4), 0);
	}
	virtio_world_set_config(world, 1, 0x0C, 4, 0x00004010);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x0C, 4), 0x00004010);
	virtio_world_set_config(world, 1, 0x00, 4, 0);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x00, 4), 0x10421AF4);
}
END_TEST

START_TEST(bars_are_sized_and_moved)
{
	const uint32_t capacity = (1 << 20) / 512;

	virtio_world_set_config(world, 1, 0x10, 4, 0xFFFFFFFF);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x10, 4), 0xFFFFFF01);
	virtio_world_set_config(world, 1, 0x10, 4, 0xC800);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x10, 4), 0xC801);
	ck_assert_uint_eq(in32(0xC880), capacity);
	ck_assert_uint_eq(in32(0xC080), 0xFFFFFFFF);
	/* Byte by byte. */
	virtio_world_set_config(world, 1, 0x11, 1, 0xC9);
	ck_assert_uint_eq(in32(0xC980), capacity);
	/* Not decoded. */
	virtio_world_set_config(world, 1, 0x04, 2, 0x0004);
	ck_assert_uint_eq(in32(0xC980), 0xFFFFFFFF);
	virtio_world_set_config(world, 1, 0x04, 2, 0x0005);
	ck_assert_uint_eq(in32(0xC980), capacity);
	/* Over another one: the first answers. Outside of the window: nobody. */
	virtio_world_set_config(world, 1, 0x10, 4, 0xC100);
	ck_assert_uint_eq(in32(0xC180), capacity);
	virtio_world_set_config(world, 1, 0x10, 4, 0x0300);
	ck_assert_uint_eq(in32(0x0380), 0xFFFFFFFF);
	virtio_world_set_config(world, 1, 0x10, 4, 0x1C100);
	ck_assert_uint_eq(in32(0xC180), 2 * capacity);
	board_reset(world->board);
	ck_assert_uint_eq(in32(0xC080), capacity);
}
END_TEST

/* Linux's vp_modern_probe: what each kind of capability says. */
START_TEST(capabilities)
{
	static const struct {
		unsigned type, offset, length;
	} expected[] = { { 1, 0, 0x40 }, { 3, 0x40, 4 }, { 4, 0x80, 0x80 }, { 2, 0x44, 4 }, { 5, 0, 0 } };
	unsigned at = virtio_world_config(world, 1, 0x34, 1);

	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		ck_assert_uint_eq(virtio_world_config(world, 1, at, 1), 0x09);
		ck_assert_uint_ge(virtio_world_config(world, 1, at + 2, 1), 16);
		ck_assert_uint_eq(virtio_world_config(world, 1, at + 3, 1), expected[i].type);
		ck_assert_uint_eq(virtio_world_config(world, 1, at + 4, 1), 0);
		ck_assert_uint_eq(virtio_world_config(world, 1, at + 8, 4), expected[i].offset);
		ck_assert_uint_eq(virtio_world_config(world, 1, at + 12, 4), expected[i].length);
		if (expected[i].type == 2)
			ck_assert_uint_eq(virtio_world_config(world, 1, at + 16, 4), 0);
		at = virtio_world_config(world, 1, at + 1, 1);
	}
	ck_assert_uint_eq(at, 0);
	for (unsigned offset = 0x98; offset < 0x100; offset += 4)
		ck_assert_uint_eq(virtio_world_config(world, 1, offset, 4), 0);
}
END_TEST

START_TEST(window_of_configuration_space)
{
	const unsigned window = 0x84;

	virtio_world_set_config(world, 1, window + 4, 1, 0);
	virtio_world_set_config(world, 1, window + 8, 4, 0x14);
	virtio_world_set_config(world, 1, window + 12, 4, 1);
	ck_assert_uint_eq(virtio_world_config(world, 1, window + 8, 4), 0x14);
	ck_assert_uint_eq(virtio_world_config(world, 1, window + 12, 4), 1);
	virtio_world_set_config(world, 1, window + 16, 1, VIRTIO_ACKNOWLEDGE);
	ck_assert_uint_eq(virtio_world_config(world, 1, window + 16, 1), VIRTIO_ACKNOWLEDGE);
	ck_assert_uint_eq(virtio_world_status(world, 0), VIRTIO_ACKNOWLEDGE);
	ck_assert_uint_eq(virtio_world_status(world, 1), 0);
	/* Windows on nothing. */
	static const struct {
		uint32_t bar, offset, length;
	} nothing[] = { { 1, 0x14, 1 }, { 0, 0x100, 1 },      { 0, 0xFFFFFFFC, 4 }, { 0, 0x14, 3 },
			{ 0, 0x14, 0 }, { 0, 0x13, 2 }, { 0, 0x14, 0x80000001 } };

	for (size_t i = 0; i < ARRAY_SIZE(nothing); i++) {
		virtio_world_set_config(world, 1, window + 4, 1, nothing[i].bar);
		virtio_world_set_config(world, 1, window + 8, 4, nothing[i].offset);
		virtio_world_set_config(world, 1, window + 12, 4, nothing[i].length);
		virtio_world_set_config(world, 1, window + 16, 4, 0x03030303);
		ck_assert_uint_eq(virtio_world_config(world, 1, window + 16, 4), 0);
		ck_assert_uint_eq(virtio_world_status(world, 0), VIRTIO_ACKNOWLEDGE);
	}
}
END_TEST

START_TEST(lines_are_level_triggered)
{
	uint8_t elcr[2];

	board_port_read(world->board, 0x4D0, 2, elcr);
	ck_assert_uint_eq(elcr[0], 0);
	ck_assert_uint_eq(elcr[1], 0x0E);
}
END_TEST

/* An interrupt of each device: a queue that cannot be. */
static void break_device(unsigned device)
{
	ck_assert_uint_eq(virtio_world_start(world, device, 0), 0x0F);
	bytes_store_u16(world->memory + virtio_world_available(device, 0) + 2, 100);
	virtio_world_kick(world, device, 0);
	ck_assert_uint_eq(virtio_world_status(world, device), 0x4F);
}

START_TEST(lines_are_shared)
{
	break_device(0);
	ck_assert_uint_eq(virtio_world_lines(world), 0x04);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x06, 2), 0x0018);
	break_device(1);
	ck_assert_uint_eq(virtio_world_lines(world), 0x0C);
	break_device(2);
	ck_assert_uint_eq(virtio_world_in(world, 0, VIRTIO_PCI_ISR, 1), VIRTIO_INTERRUPT_CONFIG);
	ck_assert_uint_eq(virtio_world_in(world, 0, VIRTIO_PCI_ISR, 1), 0);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x06, 2), 0x0010);
	ck_assert_uint_eq(virtio_world_lines(world), 0x0C); /* the third one's */
	virtio_world_set_config(world, 3, 0x04, 2, 0x0405);
	ck_assert_uint_eq(virtio_world_lines(world), 0x08);
	virtio_world_set_config(world, 3, 0x04, 2, 0x0005);
	ck_assert_uint_eq(virtio_world_lines(world), 0x0C);
	virtio_world_out(world, 2, 0x14, 1, 0);
	ck_assert_uint_eq(virtio_world_lines(world), 0x08);
	board_reset(world->board);
	ck_assert_uint_eq(virtio_world_lines(world), 0);
}
END_TEST

START_TEST(reset_register_stays)
{
	uint8_t value = 0x0A;

	board_port_write(world->board, 0xCF9, 1, &value);
	value = 0;
	board_port_read(world->board, 0xCF9, 1, &value);
	ck_assert_uint_eq(value, 0x0A);
}
END_TEST

START_TEST(state_moves)
{
	break_device(1);
	virtio_world_set_config(world, 1, 0x10, 4, 0xC900);
	virtio_world_set_config(world, 1, 0x84 + 8, 4, 0x14);
	virtio_world_out(world, 2, 0x16, 2, 0x1234);
	virtio_world_move(world, three, ARRAY_SIZE(three));
	ck_assert_uint_eq(virtio_world_status(world, 1), 0x4F);
	ck_assert_uint_eq(in32(0xC980), (1 << 20) / 512);
	ck_assert_uint_eq(virtio_world_config(world, 1, 0x84 + 8, 4), 0x14);
	ck_assert_uint_eq(virtio_world_in(world, 2, 0x16, 2), 0x1234);
	ck_assert_uint_eq(virtio_world_lines(world), 0x08);
}
END_TEST

static bool loads(const uint8_t *bytes, size_t size, const struct board_pci_device *devices, size_t count)
{
	struct virtio_world *other = virtio_world_create(devices, count);
	struct bytes_reader reader = bytes_reader_over(bytes, size);
	bool good = !failed(board_load(other->board, &reader));

	virtio_world_destroy(other);
	return good;
}

START_TEST(states_of_other_machines)
{
	static uint8_t bytes[WORLD_STATE];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));

	board_save(world->board, &writer);
	ck_assert(loads(bytes, writer.used, three, 3));
	ck_assert(!loads(bytes, writer.used, three, 2));
}
END_TEST

START_TEST(devices_that_cannot_be)
{
	struct board_pci_device many[BOARD_PCI_MAX + 1];
	const struct board_pci_device bad[] = {
		{ .kind = BOARD_PCI_DISK },
		{ .kind = BOARD_PCI_DISK, .disk_size = 513 },
		{ .kind = BOARD_PCI_DISK, .disk_size = UINT64_C(1) << 63 },
		{ .kind = (enum board_pci_kind)0 },
		{ .kind = (enum board_pci_kind)9 },
	};
	struct board_config config = { .ram_size = 1 << 20, .pci_count = 1 };
	struct board *board;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		config.pci = &bad[i];
		ck_assert_msg(failed(board_create(&board, &config)), "%zu", i);
		ck_assert_ptr_null(board);
	}
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = three[0];
	config.pci = many;
	config.pci_count = ARRAY_SIZE(many);
	ck_assert(failed(board_create(&board, &config)));
	config.pci_count--;
	ck_assert(!failed(board_create(&board, &config)));
	board_destroy(board);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("pci");
	TCase *tests = tcase_create("bus");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, mechanism_1);
	tcase_add_test(tests, header);
	tcase_add_test(tests, bars_are_sized_and_moved);
	tcase_add_test(tests, capabilities);
	tcase_add_test(tests, window_of_configuration_space);
	tcase_add_test(tests, lines_are_level_triggered);
	tcase_add_test(tests, lines_are_shared);
	tcase_add_test(tests, reset_register_stays);
	tcase_add_test(tests, state_moves);
	tcase_add_test(tests, states_of_other_machines);
	tcase_add_test(tests, devices_that_cannot_be);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
