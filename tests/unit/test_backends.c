/* Backends: what was voted on reaches the disk, whole and in order; what is fetched comes back, to those who asked. */
#include "tests/unit/guest_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "lockstep/backends.h"
#include "lockstep/control.h"
#include "lockstep/fetches.h"
#include "lockstep/inbox.h"

enum { SIZE = 1 << 20, LARGE = 120 << 10 };

static char path[] = "/tmp/test-backends.XXXXXX";
static int file = -1;
static struct backends *backends;
static struct control *control;
static struct supervisor_page *page;
static struct backends_client client;
static uint64_t made;

static void setup(void)
{
	struct backends_options options = { .count = 2 };

	memset(path + strlen(path) - 6, 'X', 6);
	file = mkstemp(path);
	ck_assert_int_ge(file, 0);
	ck_assert_int_eq(ftruncate(file, SIZE), 0);
	options.device[0] = (struct backend_option){ .kind = BOARD_PCI_RNG };
	options.device[1] = (struct backend_option){ .kind = BOARD_PCI_DISK, .serial = "serial" };
	memcpy(options.device[1].place, path, sizeof(path));
	must_fail(backends_open(&backends, &(struct backends_options){ 1, { { .kind = BOARD_PCI_DISK } } }),
		  STATUS_INPUT, "--disk: cannot open");
	must_succeed(backends_open(&backends, &options));
	control = calloc(1, sizeof(*control));
	page = calloc(1, sizeof(*page));
	ck_assert(control && page);
	made = 0;
	client = (struct backends_client){ .control = control, .index = 1, .epoch = 4, .page = page };
}

static void teardown(void)
{
	backends_close(backends);
	backends = NULL;
	free(control);
	free(page);
	fd_close(&file);
	ck_assert_int_eq(unlink(path), 0);
}

static void await(void)
{
	struct pollfd ready = { .fd = backends_fd(backends), .events = POLLIN };

	ck_assert_int_eq(poll(&ready, 1, 60000), 1);
}

/* The next entry of the inbox, which comes by and by; it is taken. */
static struct inbox_entry next(void)
{
	struct inbox_entry entry;
	bool there;

	for (;;) {
		must_succeed(inbox_look(page, client.kept, &entry, &there));
		if (there)
			break;
		if (!backends_exchange(backends, &client))
			await();
	}
	client.kept = entry.end;
	return entry;
}

static void nothing_comes(void)
{
	bool there;
	struct inbox_entry entry;

	(void)!backends_exchange(backends, &client);
	must_succeed(inbox_look(page, client.kept, &entry, &there));
	ck_assert(!there);
}

/* A request and its data, in pieces of `piece` bytes. */
static void let_out(enum device_disk_op op, uint64_t id, uint64_t offset, uint64_t length, uint8_t fill, size_t piece)
{
	static uint8_t bytes[DEVICE_DISK_HEADER + LARGE];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));
	const struct device_disk_request request = {
		.device = 1, .op = op, .id = id, .offset = offset, .length = length,
	};
	size_t size;

	device_disk_put(&writer, &request);
	size = writer.used;
	if (op == DEVICE_DISK_WRITE) {
		memset(bytes + size, fill, length);
		size += length;
	}
	for (size_t at = 0; at < size; at += piece)
		must_succeed(backends_output(backends, OUTPUT_DISK, bytes + at,
					     size - at < piece ? size - at : piece));
}

static void expect_bytes(uint64_t offset, uint64_t length, uint8_t value)
{
	static uint8_t bytes[LARGE];

	must_succeed(fd_read_at(file, path, offset, bytes, length));
	for (uint64_t i = 0; i < length; i++)
		ck_assert_msg(bytes[i] == value, "byte %llu", (unsigned long long)(offset + i));
}

static struct device_fetch fetch(uint32_t device, uint32_t kind, uint64_t id, uint64_t offset, uint32_t length)
{
	const struct device_fetch one = {
		.device = device, .kind = kind, .id = id, .offset = offset, .length = length,
	};

	ck_assert(fetches_put(control, &made, page->fetches_taken[1], client.epoch, &one));
	return one;
}

START_TEST(described)
{
	struct board_pci_device pci[BOARD_PCI_MAX];

	ck_assert_uint_eq(backends_describe(backends, pci), 2);
	ck_assert_int_eq(pci[0].kind, BOARD_PCI_RNG);
	ck_assert_int_eq(pci[1].kind, BOARD_PCI_DISK);
	ck_assert_uint_eq(pci[1].disk_size, SIZE);
	ck_assert_str_eq(pci[1].serial, "serial");
	ck_assert(!pci[1].read_only);
}
END_TEST

/* However the outbox cuts the stream. */
START_TEST(changes)
{
	static const size_t pieces[] = { 1, 7, 39, 40, 41, 4096, 1 << 20 };
	size_t piece = pieces[_i];

	let_out(DEVICE_DISK_WRITE, 11, 512, 2 * 512, 0xAB, piece);
	let_out(DEVICE_DISK_FLUSH, 12, 0, 0, 0, piece);
	let_out(DEVICE_DISK_WRITE, 13, 4096, LARGE, 0xCD, piece);
	let_out(DEVICE_DISK_WRITE_ZEROES, 14, 8192, 512, 0, piece);
	ck_assert(backends_busy(backends));
	for (uint64_t id = 11; id <= 14; id++) {
		const struct inbox_entry entry = next();

		ck_assert_uint_eq(entry.input.kind, INPUT_DISK_DONE);
		ck_assert_uint_eq(entry.input.device, 1);
		ck_assert_uint_eq(entry.input.id, id);
		ck_assert_uint_eq(entry.input.status, 0);
		ck_assert_uint_eq(entry.asked, 0);
	}
	ck_assert(!backends_busy(backends));
	nothing_comes();
	expect_bytes(0, 512, 0);
	expect_bytes(512, 1024, 0xAB);
	expect_bytes(4096, 4096, 0xCD);
	expect_bytes(8192, 512, 0);
	expect_bytes(8704, LARGE - 4608, 0xCD);
	expect_bytes(4096 + LARGE, 512, 0);
}
END_TEST

START_TEST(refused)
{
	struct device_disk_request request = { .device = 1, .op = DEVICE_DISK_WRITE, .id = 1, .length = 512 };
	uint8_t bytes[DEVICE_DISK_HEADER];
	struct bytes_writer writer = bytes_writer_over(bytes, sizeof(bytes));

	switch (_i) {
	case 0:
		request.device = 0; /* no disk */
		break;
	case 1:
		request.device = 2; /* there is none */
		break;
	case 2:
		request.op = 9;
		break;
	case 3:
		request.length = UINT64_MAX / 512 * 512;
		break;
	}
	device_disk_put(&writer, &request);
	ck_assert(failed(backends_output(backends, OUTPUT_DISK, bytes, sizeof(bytes))));
	ck_assert(failed(backends_output(backends, OUTPUT_VCONSOLE, bytes, sizeof(bytes))));
}
END_TEST

/* The guest hears of what the host could not do. */
START_TEST(beyond_the_disk)
{
	let_out(DEVICE_DISK_WRITE, 5, SIZE, 512, 1, 4096);
	const struct inbox_entry entry = next();

	ck_assert_uint_eq(entry.input.kind, INPUT_DISK_DONE);
	ck_assert_uint_eq(entry.input.status, EINVAL);
	(void)fetch(1, FETCH_DISK, 6, SIZE, 512);
	const struct inbox_entry other = next();

	ck_assert_uint_eq(other.input.kind, INPUT_DISK_READ);
	ck_assert_uint_eq(other.input.status, EINVAL);
	ck_assert_uint_eq(other.input.total, 512);
	ck_assert_uint_eq(other.input.length, 0);
}
END_TEST

START_TEST(fetched)
{
	static const uint32_t lengths[] = { 512, 4096, 4608, LARGE };

	for (uint64_t i = 0; i < SIZE / 512; i++)
		ck_assert_int_eq(pwrite(file, &i, sizeof(i), (off_t)(512 * i)), sizeof(i));
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		const struct device_fetch one = fetch(1, FETCH_DISK, 20 + i, 512 * 9, lengths[i]);
		uint64_t got = 0;

		while (got < lengths[i]) {
			const struct inbox_entry entry = next();
			uint64_t sector;

			ck_assert_uint_eq(entry.input.kind, INPUT_DISK_READ);
			ck_assert_uint_eq(entry.input.epoch, 4);
			ck_assert_uint_eq(entry.input.id, 20 + i);
			ck_assert_uint_eq(entry.input.offset, got);
			ck_assert_uint_eq(entry.input.total, lengths[i]);
			ck_assert_uint_eq(entry.asked, fetches_check(&one));
			for (uint64_t at = 0; at < entry.input.length; at += 512) {
				memcpy(&sector, entry.input.data + at, sizeof(sector));
				ck_assert_uint_eq(sector, 9 + (got + at) / 512);
			}
			got += entry.input.length;
		}
		ck_assert_uint_eq(got, lengths[i]);
	}
	ck_assert_uint_eq(page->fetches_taken[1], made);
}
END_TEST

START_TEST(entropy)
{
	uint8_t zeroes[64] = { 0 };
	const struct device_fetch one = fetch(0, FETCH_ENTROPY, 1, 0, 64);
	const struct inbox_entry entry = next();

	ck_assert_uint_eq(entry.input.kind, INPUT_ENTROPY);
	ck_assert_uint_eq(entry.input.length, 64);
	ck_assert_uint_eq(entry.asked, fetches_check(&one));
	ck_assert_int_ne(memcmp(entry.input.data, zeroes, 64), 0);
	(void)fetch(0, FETCH_ENTROPY, 2, 0, 64);
	const struct inbox_entry other = next();

	ck_assert_int_ne(memcmp(entry.input.data, other.input.data, 64), 0);
}
END_TEST

/* What a leader before asked for is not served, and what is under way for it does not come. */
START_TEST(another_leader)
{
	(void)fetch(1, FETCH_DISK, 1, 0, LARGE);
	(void)!backends_exchange(backends, &client);
	(void)fetch(1, FETCH_DISK, 2, 0, 512);
	client.epoch = 5;
	(void)fetch(1, FETCH_DISK, 3, 0, 512);
	const struct inbox_entry entry = next();

	/* Pieces that were in the inbox already are void by their epoch. */
	if (entry.input.id == 1) {
		ck_assert_uint_eq(entry.input.epoch, 4);
	} else {
		ck_assert_uint_eq(entry.input.id, 3);
		ck_assert_uint_eq(entry.input.epoch, 5);
	}
}
END_TEST

START_TEST(begins_anew)
{
	for (uint64_t id = 1; id <= 5; id++)
		(void)fetch(1, FETCH_DISK, id, 0, LARGE);
	(void)!backends_exchange(backends, &client);
	backends_restart(backends);
	atomic_store(&page->inbox_written, 0);
	client.kept = 0;
	(void)fetch(1, FETCH_DISK, 1, 4096, 512);
	const struct inbox_entry entry = next();

	ck_assert_uint_eq(entry.input.total, 512);
}
END_TEST

/* Fetches that were damaged are asked for again. */
START_TEST(damaged)
{
	(void)fetch(1, FETCH_DISK, 1, 0, 512);
	(void)fetch(1, FETCH_DISK, 2, 0, 512);
	control->fetches[0].fetch.offset ^= 512;
	ck_assert(backends_exchange(backends, &client));
	ck_assert_uint_eq(page->fetch_again, 1);
	ck_assert_uint_eq(page->attention[1], 1);
	ck_assert_uint_eq(next().input.id, 2);
	nothing_comes();
}
END_TEST

/* More is asked for than the inbox has room for: it comes as the guest takes it. */
START_TEST(full_inbox)
{
	const unsigned count = 3 * CONTROL_INBOX_SIZE / LARGE;
	uint64_t got = 0;
	unsigned asked = 0;

	while (asked < count)
		(void)fetch(1, FETCH_DISK, ++asked, 0, LARGE);
	while (got < (uint64_t)count * LARGE) {
		struct inbox_entry entry;

		for (unsigned i = 0; i < 100; i++) {
			entry = next();
			ck_assert_uint_eq(entry.input.id, 1 + got / LARGE);
			ck_assert_uint_eq(entry.input.offset, got % LARGE);
			got += entry.input.length;
			ck_assert_uint_le(atomic_load(&page->inbox_written) - entry.begin, CONTROL_INBOX_SIZE);
			if (got == (uint64_t)count * LARGE)
				break;
		}
	}
	nothing_comes();
}
END_TEST

/* Frames, out by the stream however it is cut, and in. */
START_TEST(network)
{
	struct backends_options options = { .count = 1 };
	uint8_t stream[2 * (DEVICE_STREAM_HEADER + 100)], got[200];
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
	backends_close(backends);
	options.device[0].kind = BOARD_PCI_NET;
	(void)snprintf(options.device[0].place, sizeof(options.device[0].place), "fd=%d", ends[0]);
	must_succeed(backends_open(&backends, &options));
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *record = stream + i * (DEVICE_STREAM_HEADER + 100);

		bytes_store_u32(record, 0);
		bytes_store_u32(record + 4, 100);
		memset(record + 8, 0x40 + (int)i, 100);
	}
	for (size_t at = 0; at < sizeof(stream); at += 5)
		must_succeed(backends_output(backends, OUTPUT_NET, stream + at,
					     sizeof(stream) - at < 5 ? sizeof(stream) - at : 5));
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(recv(ends[1], got, sizeof(got), MSG_DONTWAIT), 100);
		ck_assert_mem_eq(got, stream + i * (DEVICE_STREAM_HEADER + 100) + 8, 100);
	}
	ck_assert_int_eq(send(ends[1], got, 77, 0), 77);
	const struct inbox_entry entry = next();

	ck_assert_uint_eq(entry.input.kind, INPUT_NET);
	ck_assert_uint_eq(entry.input.length, 77);
	ck_assert_mem_eq(entry.input.data, got, 77);
	/* For a guest that takes nothing they are lost, before there is no room for anything else. */
	for (unsigned i = 0; i < 20000; i++) {
		ck_assert_int_eq(send(ends[1], got, 100, 0), 100);
		(void)!backends_exchange(backends, &client);
	}
	ck_assert_uint_lt(atomic_load(&page->inbox_written) - client.kept, CONTROL_INBOX_SIZE * 3 / 4);
	bytes_store_u32(stream + 4, DEVICE_FRAME_MAX + 1);
	must_fail(backends_output(backends, OUTPUT_NET, stream, 8), STATUS_FAILED, "a record of 1515 bytes");
	(void)close(ends[1]);
}
END_TEST

/* Pipes as standard input and output: the test's ends of them. */
static void be_standard(int *to_input, int *from_output)
{
	int in[2], out[2];

	ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
	ck_assert_int_eq(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	ck_assert_int_eq(dup2(in[0], STDIN_FILENO), STDIN_FILENO);
	ck_assert_int_eq(dup2(out[1], STDOUT_FILENO), STDOUT_FILENO);
	ck_assert_int_eq(fcntl(STDOUT_FILENO, F_SETFL, 0), 0);
	*to_input = in[1];
	*from_output = out[0];
}

/* A virtio console: bytes out, whatever the records, bytes in, and a reader that is slow. */
START_TEST(console)
{
	struct backends_options options = { .count = 2 };
	static uint8_t record[DEVICE_STREAM_HEADER + (64 << 10)];
	static uint8_t got[1 << 20];
	int to_input, from_output;
	uint64_t said = 0, read_back = 0;
	ssize_t part;

	be_standard(&to_input, &from_output);
	backends_close(backends);
	options.device[0].kind = BOARD_PCI_RNG;
	options.device[1] = (struct backend_option){ .kind = BOARD_PCI_CONSOLE, .place = "stdio" };
	must_succeed(backends_open(&backends, &options));
	nothing_comes();
	ck_assert(!backends_busy(backends));
	bytes_store_u32(record, 1);
	bytes_store_u32(record + 4, sizeof(record) - DEVICE_STREAM_HEADER);
	while (!backends_behind(backends)) {
		for (size_t i = 0; i < sizeof(record) - DEVICE_STREAM_HEADER; i++)
			record[DEVICE_STREAM_HEADER + i] = (uint8_t)((said + i) % 251);
		for (size_t at = 0; at < sizeof(record); at += 1000)
			must_succeed(backends_output(backends, OUTPUT_VCONSOLE, record + at,
						     sizeof(record) - at < 1000 ? sizeof(record) - at : 1000));
		said += sizeof(record) - DEVICE_STREAM_HEADER;
		ck_assert_uint_lt(said, sizeof(got));
	}
	ck_assert(backends_busy(backends));
	while (backends_busy(backends)) {
		while ((part = read(from_output, got + read_back, sizeof(got) - read_back)) > 0)
			read_back += (uint64_t)part;
		await();
		nothing_comes();
	}
	while ((part = read(from_output, got + read_back, sizeof(got) - read_back)) > 0)
		read_back += (uint64_t)part;
	ck_assert_uint_eq(read_back, said);
	for (uint64_t i = 0; i < said; i++)
		ck_assert_msg(got[i] == i % 251, "byte %llu", (unsigned long long)i);
	ck_assert(!backends_behind(backends));
	ck_assert_int_eq(write(to_input, "typed", 5), 5);
	const struct inbox_entry entry = next();

	ck_assert_uint_eq(entry.input.kind, INPUT_VCONSOLE);
	ck_assert_uint_eq(entry.input.device, 1);
	ck_assert_uint_eq(entry.input.length, 5);
	ck_assert_mem_eq(entry.input.data, "typed", 5);
	(void)close(to_input);
	nothing_comes();
	nothing_comes();
	bytes_store_u32(record, 0);
	must_fail(backends_output(backends, OUTPUT_VCONSOLE, record, sizeof(record)), STATUS_FAILED,
		  "device 0 lets out what its kind does not have");
}
END_TEST

/* Ctrl-A x on a terminal asks for the end as whoever sends SIGTERM does. */
START_TEST(console_quit)
{
	struct backends_options options = { .count = 1 };
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	sigset_t signals;
	int side;

	ck_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
	side = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_eq(dup2(side, STDIN_FILENO), STDIN_FILENO);
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, &signals, NULL), 0);
	backends_close(backends);
	options.device[0] = (struct backend_option){ .kind = BOARD_PCI_CONSOLE, .place = "stdio" };
	must_succeed(backends_open(&backends, &options));
	ck_assert_int_eq(write(terminal, "y\001x", 3), 3);
	ck_assert_uint_eq(next().input.data[0], 'y');
	nothing_comes();
	ck_assert_int_eq(sigpending(&signals), 0);
	ck_assert_int_eq(sigismember(&signals, SIGTERM), 1);
}
END_TEST

/* Nobody reads any more: that is told, and harms nothing else. */
START_TEST(console_gone)
{
	struct backends_options options = { .count = 1 };
	uint8_t record[DEVICE_STREAM_HEADER + 1] = { 0 };
	int to_input, from_output;

	be_standard(&to_input, &from_output);
	backends_close(backends);
	options.device[0] = (struct backend_option){ .kind = BOARD_PCI_CONSOLE, .place = "stdio" };
	must_succeed(backends_open(&backends, &options));
	(void)close(from_output);
	ck_assert_ptr_ne(signal(SIGPIPE, SIG_IGN), SIG_ERR);
	bytes_store_u32(record + 4, 1);
	for (unsigned i = 0; i < 3; i++)
		must_succeed(backends_output(backends, OUTPUT_VCONSOLE, record, sizeof(record)));
	nothing_comes();
	ck_assert(!backends_busy(backends));
	ck_assert_int_eq(write(to_input, "x", 1), 1);
	ck_assert_uint_eq(next().input.data[0], 'x');
}
END_TEST

START_TEST(behind)
{
	unsigned given = 0;

	ck_assert(!backends_behind(backends));
	while (!backends_behind(backends))
		let_out(DEVICE_DISK_WRITE, ++given, 0, LARGE, 1, 1 << 20);
	ck_assert_uint_lt(given, 1000);
	for (unsigned i = 0; i < given; i++)
		ck_assert_uint_eq(next().input.id, i + 1);
	ck_assert(!backends_behind(backends));
	ck_assert(!backends_busy(backends));
	json_t *all = backends_statistics(backends);
	const json_t *disk = json_array_get(all, 1);

	ck_assert_int_eq(json_integer_value(json_object_get(disk, "writes")), given);
	ck_assert_int_eq(json_integer_value(json_object_get(disk, "bytes_written")), (json_int_t)given * LARGE);
	json_decref(all);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("backends");
	TCase *tests = tcase_create("backends");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_set_timeout(tests, 60);
	tcase_add_test(tests, described);
	tcase_add_loop_test(tests, changes, 0, 7);
	tcase_add_loop_test(tests, refused, 0, 4);
	tcase_add_test(tests, beyond_the_disk);
	tcase_add_test(tests, fetched);
	tcase_add_test(tests, entropy);
	tcase_add_test(tests, another_leader);
	tcase_add_test(tests, begins_anew);
	tcase_add_test(tests, damaged);
	tcase_add_test(tests, full_inbox);
	tcase_add_test(tests, network);
	tcase_add_test(tests, console);
	tcase_add_test(tests, console_quit);
	tcase_add_test(tests, console_gone);
	tcase_add_test(tests, behind);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
