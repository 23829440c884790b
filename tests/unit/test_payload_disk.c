/* The payload `disk` on a real CPU: its disk is an array, whose answers come late and out of order. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crc.h"
#include "tests/unit/guest_machine.h"
#include "vmm/boot.h"

#define BYTES (256U << 10)
#define DISK_SIZE (1U << 20)
#define SEED 77U
#define WAITING_MAX 64U
#define TEXT_MAX 4096U

/* What the outside was asked for and has not answered. */
struct waiting {
	bool is_fetch;
	struct device_fetch fetch;
	uint64_t at; /* bytes of the answer that were given */
	uint64_t id;
};

static struct guest_machine guest;
static uint8_t disk[DISK_SIZE];
static uint8_t stream[1 << 20];
static size_t streamed, served;
static struct waiting waiting[WAITING_MAX];
static unsigned waiters, most_waiters;
static unsigned flushes, writes;
static char text[TEXT_MAX];
static size_t text_length;
static size_t room;
static uint64_t seed;

static bool memory_read(void *context, uint64_t address, void *data, size_t length)
{
	(void)context;
	return !failed(ram_read(&guest.ram, address, data, length));
}

static bool memory_write(void *context, uint64_t address, const void *data, size_t length)
{
	(void)context;
	return !failed(ram_write(&guest.ram, address, data, length));
}

static size_t output_room(void *context)
{
	(void)context;
	return room;
}

static void output(void *context, enum output_channel channel, const void *data, size_t length)
{
	(void)context;
	if (channel == OUTPUT_CONSOLE) {
		ck_assert_uint_lt(length, TEXT_MAX - text_length);
		memcpy(text + text_length, data, length);
		text_length += length;
		return;
	}
	ck_assert_int_eq(channel, OUTPUT_DISK);
	ck_assert_uint_le(length, room);
	ck_assert_uint_le(length, sizeof(stream) - streamed);
	memcpy(stream + streamed, data, length);
	streamed += length;
	room -= length;
}

static void wait_for(const struct waiting *what)
{
	ck_assert_uint_lt(waiters, WAITING_MAX);
	waiting[waiters++] = *what;
	if (waiters > most_waiters)
		most_waiters = waiters;
}

static void fetch(void *context, const struct device_fetch *wanted)
{
	const struct waiting what = { .is_fetch = true, .fetch = *wanted, .id = wanted->id };

	(void)context;
	wait_for(&what);
}

static void request(void *context, enum board_request what, uint32_t argument)
{
	(void)context;
	guest.fixture.request = what;
	guest.fixture.argument = argument;
}

/* A vote: what was put out takes effect. */
static void release(void)
{
	while (served < streamed) {
		struct bytes_reader reader = bytes_reader_over(stream + served, streamed - served);
		struct device_disk_request wanted;

		must_succeed(device_disk_get(&reader, &wanted));
		if (wanted.op == DEVICE_DISK_WRITE) {
			ck_assert_uint_le(wanted.offset + wanted.length, DISK_SIZE);
			bytes_get(&reader, disk + wanted.offset, wanted.length);
			writes++;
		} else {
			ck_assert_uint_eq(wanted.op, DEVICE_DISK_FLUSH);
			flushes++;
		}
		ck_assert(!reader.underflow);
		served += reader.at;
		wait_for(&(struct waiting){ .id = wanted.id });
	}
	streamed = 0;
	served = 0;
	room = 20000; /* four requests and a bit */
	board_resume(guest.board);
}

/* Answers one of those that wait, any one, by a piece. */
static void answer_one(void)
{
	unsigned which = (unsigned)(fixture_random(&seed) % waiters);
	struct waiting *what = &waiting[which];
	struct device_input input = { .kind = INPUT_DISK_DONE, .id = what->id };
	bool last = true;

	if (what->is_fetch) {
		input.kind = INPUT_DISK_READ;
		input.offset = what->at;
		input.total = what->fetch.length;
		input.length = what->fetch.length - (uint32_t)what->at;
		if (input.length > DEVICE_INPUT_MAX)
			input.length = DEVICE_INPUT_MAX;
		memcpy(input.data, disk + what->fetch.offset + what->at, input.length);
		what->at += input.length;
		last = what->at == what->fetch.length;
	}
	ck_assert_int_eq(board_input_fits(guest.board, &input), DEVICE_INPUT_FITS);
	if (last)
		*what = waiting[--waiters];
	board_input(guest.board, &input);
}

static int payload_file(void)
{
	char self[PATH_MAX];
	char path[PATH_MAX + 32];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	ck_assert_int_gt(length, 0);
	self[length] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(self, '/') = '\0';
	(void)snprintf(path, sizeof(path), "%s/payloads/disk", self);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static bool make_guest(const char *arguments, uint64_t size)
{
	const struct board_pci_device pci = { .kind = BOARD_PCI_DISK, .disk_size = size };
	const struct board_config config = {
		.ram_size = GUEST_MACHINE_MEMORY,
		.pci = &pci,
		.pci_count = size > 0,
		.out = {
			.output = output,
			.request = request,
			.memory_read = memory_read,
			.memory_write = memory_write,
			.output_room = output_room,
			.fetch = fetch,
		},
	};
	const struct boot_source source = {
		.kind = BOOT_PAYLOAD,
		.kernel_fd = payload_file(),
		.kernel_name = "disk",
		.initrd_fd = -1,
		.command_line = arguments,
	};
	struct cpu_state entry;

	if (source.kernel_fd < 0) {
		printf("skip disk: the payload is not built\n");
		return false;
	}
	seed = 1;
	guest_memory_make(&guest.ram, GUEST_MACHINE_MEMORY);
	must_succeed(board_create(&guest.board, &config));
	must_succeed(boot_load(&guest.ram, &source, &entry));
	close(source.kernel_fd);
	must_succeed(machine_create(&guest.machine, &guest.ram, guest.board, false));
	must_succeed(machine_import(&guest.machine, &entry, false));
	return true;
}

static void run_to_the_end(void)
{
	for (uint64_t exits = 0; guest.fixture.request == BOARD_REQUEST_NONE; exits++) {
		ck_assert_uint_lt(exits, 1000000);
		(void)guest_machine_step(&guest);
		if (exits % 16 == 0)
			release();
		if (exits % 3 == 0 && waiters > 0)
			answer_one();
	}
	ck_assert_int_eq(guest.fixture.request, BOARD_REQUEST_EXIT);
}

START_TEST(writes_flushes_and_reads)
{
	char line[64];

	if (!make_guest("bytes=262144 seed=77", DISK_SIZE))
		return;
	run_to_the_end();
	ck_assert_msg(guest.fixture.argument == 0, "%s", text);
	for (uint64_t offset = 0; offset < DISK_SIZE; offset += sizeof(uint64_t)) {
		uint64_t x = (offset + SEED) * 0x9E3779B97F4A7C15;

		ck_assert_uint_eq(bytes_load_u64(disk + offset), offset < BYTES ? x ^ x >> 32 : 0);
	}
	(void)snprintf(line, sizeof(line), "read %u, crc %016x\n", BYTES, crc_of(disk, BYTES));
	ck_assert_msg(strstr(text, line), "%s is not in: %s", line, text);
	ck_assert_ptr_nonnull(strstr(text, "flushed 65536\nflushed 131072\nflushed 196608\nflushed 262144\n"));
	ck_assert_uint_eq(writes, BYTES / 4096);
	ck_assert_uint_eq(flushes, BYTES / 65536);
	ck_assert_uint_eq(most_waiters, 16); /* all of a block's reads at once */
	guest_machine_destroy(&guest);
}
END_TEST

/* The check is one: what is read is not what was written. */
START_TEST(finds_damage)
{
	if (!make_guest("bytes=65536", DISK_SIZE))
		return;
	while (flushes == 0) {
		(void)guest_machine_step(&guest);
		release();
		if (waiters > 0)
			answer_one();
	}
	disk[12345] ^= 0x10;
	run_to_the_end();
	ck_assert_uint_eq(guest.fixture.argument, 1);
	ck_assert_ptr_nonnull(strstr(text, "something else was read at byte 0\n"));
	guest_machine_destroy(&guest);
}
END_TEST

START_TEST(disks_that_do_not_do)
{
	if (!make_guest("bytes=65536", _i == 0 ? 0 : 65536 - 512))
		return;
	run_to_the_end();
	ck_assert_uint_eq(guest.fixture.argument, _i == 0 ? 1 : 2);
	guest_machine_destroy(&guest);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("payload disk");
	TCase *tests = tcase_create("KVM");

	if (guest_machine_available("payload disk")) {
		tcase_set_timeout(tests, 60);
		tcase_add_test(tests, writes_flushes_and_reads);
		tcase_add_test(tests, finds_damage);
		tcase_add_loop_test(tests, disks_that_do_not_do, 0, 2);
	}
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
