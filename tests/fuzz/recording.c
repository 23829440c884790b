/*
 * A recording with anything in it, for libFuzzer (tests/fuzz/run).
 *
 * The input is a list of steps that write the file: records whose checksums are right, so that what stands in them is
 * looked at, and damage. A reader must refuse it as an input that is wrong, or read it: the same each time that it goes
 * over it, and nothing but what a writer would have written.
 *
 * Sources: base lockstep/recording.c lockstep/tape_file.c lockstep/tape.c lockstep/inbox.c lockstep/control.c
 * Sources: lockstep/fetches.c lockstep/vote.c devices/device.c vmm/ram.c vmm/registers.c
 * Runs: 3000
 * Defect: lockstep/recording.c s/recording->at != recording->size/false/
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lockstep/inbox.h"
#include "lockstep/recording.h"
#include "tests/fuzz/input.h"

enum { FILE_MOST = 1 << 18, PAYLOAD_MOST = 1 << 14, PATCH_MOST = 8 };

/* The file that is written. */
struct file {
	struct bytes_writer writer;
	uint32_t number;
	struct tape_file_vote vote;
	struct tape_file_end end;
};


/* Changes some bytes, once for each bit of `times`. */
static void patch(struct input *input, uint8_t *bytes, size_t size, unsigned times)
{
	for (; times > 0 && size > PATCH_MOST; times >>= 1) {
		size_t at = input_next(input, 2) % (size - PATCH_MOST);

		input_bytes(input, bytes + at, 1 + input_next(input, 1) % PATCH_MOST);
	}
}

static void put_record(struct file *file, struct input *input, unsigned kind, struct bytes_writer *payload,
		       unsigned patches)
{
	const struct tape_file_record record = {
		.kind = (enum tape_file_kind)kind,
		.length = (uint32_t)payload->used,
		.number = file->number++,
	};

	patch(input, payload->data, payload->used, patches);
	tape_file_put_record(&file->writer, &record, payload->data);
}

static void put_machine(struct bytes_writer *payload)
{
	const struct tape_file_machine machine = {
		.version = "1",
		.replicas = 3,
		.kind = BOOT_LINUX,
		.memory = UINT64_C(64) << 20,
		.kernel = { .path = "kernel", .size = 1 },
		.command_line = "console=ttyS0",
		.pci_count = 2,
		.pci = { { .kind = BOARD_PCI_DISK, .disk_size = 512 }, { .kind = BOARD_PCI_NET } },
	};

	tape_file_save_machine(&machine, payload);
}

/* Entries up to a vote. */
static void put_tape(struct file *file, struct input *input, struct bytes_writer *payload)
{
	static uint8_t bytes[TAPE_PAYLOAD_MAX];
	_Atomic uint64_t written;
	struct tape_writer tape = { .ring = { payload->data, payload->size }, .written = &written };
	unsigned entries = (unsigned)input_next(input, 1) % 8;
	static const uint16_t lengths[TAPE_KINDS] = { [TAPE_TIME] = 8, [TAPE_VOTE] = 8, [TAPE_SKIP] = 8,
						      [TAPE_STOP] = sizeof(struct stop_point) };

	while (entries-- > 0) {
		unsigned kind = 1 + (unsigned)input_next(input, 1) % (TAPE_KINDS - 1);
		uint16_t length = lengths[kind];

		if (kind == TAPE_CONSOLE)
			length = (uint16_t)(1 + input_next(input, 1) % TAPE_CONSOLE_MAX);
		else if (kind == TAPE_DEVICE)
			length = (uint16_t)(8 + input_next(input, 1));
		file->vote.position += input_next(input, 1);
		input_bytes(input, bytes, length);
		(void)tape_write(&tape, (enum tape_kind)kind, file->vote.position, bytes, length);
		file->end.entries++;
	}
	memset(bytes, 1, sizeof(bytes));
	(void)tape_write(&tape, TAPE_VOTE, file->vote.position, bytes, 8);
	file->end.entries++;
	payload->used = tape.at;
}

static void put_vote(struct file *file, struct bytes_writer *payload)
{
	file->vote.number = file->end.votes++;
	file->vote.cause = 1;
	file->end.position = file->vote.position;
	tape_file_save_vote(&file->vote, payload);
}

static void step(struct file *file, struct input *input)
{
	static uint8_t bytes[PAYLOAD_MOST];
	struct bytes_writer payload = bytes_writer_over(bytes, sizeof(bytes));
	unsigned op = (unsigned)input_next(input, 1), patches = op >> 3 & 3U, length;

	switch (op & 7U) {
	case 0:
		put_machine(&payload);
		put_record(file, input, TAPE_FILE_MACHINE, &payload, patches);
		break;
	case 1:
	case 2:
		put_tape(file, input, &payload);
		put_record(file, input, TAPE_FILE_TAPE, &payload, patches);
		break;
	case 3:
	case 4:
		put_vote(file, &payload);
		put_record(file, input, TAPE_FILE_VOTE, &payload, patches);
		break;
	case 5:
		tape_file_save_end(&file->end, &payload);
		put_record(file, input, TAPE_FILE_END, &payload, patches);
		break;
	case 6:
		length = (unsigned)input_next(input, 1);
		input_bytes(input, bytes, length);
		payload.used = length;
		put_record(file, input, op >> 3, &payload, 0);
		break;
	default:
		/* Numbers that are missing or come twice; bytes of no record, and damage. */
		if (op & 0x40U) {
			file->number += (uint32_t)input_next(input, 1) - 128;
		} else if (op & 0x80U) {
			length = (unsigned)input_next(input, 1);
			input_bytes(input, bytes, length);
			bytes_put(&file->writer, bytes, length);
		} else {
			patch(input, file->writer.data, file->writer.used, patches);
		}
		break;
	}
}

static void must_be_input(result r)
{
	invariant(!failed(r) || (r.failure->status == STATUS_INPUT && r.failure->message[0] != '\0'));
}

/* What was read of the machine is saved as it stood in the file. */
static void check_machine(const struct recording *recording, const uint8_t *data)
{
	static uint8_t again[PAYLOAD_MOST];
	struct bytes_writer writer = bytes_writer_over(again, sizeof(again));

	tape_file_save_machine(&recording->machine, &writer);
	invariant(!writer.overflow && writer.used <= recording->first_at - TAPE_FILE_HEADER_SIZE - TAPE_FILE_HEAD_SIZE);
	invariant(memcmp(again, data + TAPE_FILE_HEADER_SIZE + TAPE_FILE_HEAD_SIZE, writer.used) == 0);
}

static void check_item(const struct recording_item *item, uint64_t position)
{
	static struct inbox_entry entry;

	invariant(item->position >= position);
	if (item->kind == RECORDING_ENTRY && item->entry.kind == TAPE_DEVICE) {
		result r = inbox_from_tape(item->entry.payload, item->entry.length, 0, &entry);

		if (!failed(r))
			invariant(entry.input.length <= DEVICE_INPUT_MAX);
	}
}

static void read_file(const char *path, const uint8_t *data, uint64_t until)
{
	static struct recording recording;
	static struct recording_item item;
	struct recording_summary first, second;
	uint64_t votes = 0, position = 0;
	result r = recording_open(&recording, path);
	bool good;

	must_be_input(r);
	if (!failed(r)) {
		check_machine(&recording, data);
		r = recording_scan(&recording, until, &first);
		must_be_input(r);
		r = recording_scan(&recording, UINT64_MAX, &first);
		must_be_input(r);
		good = !failed(r);
		r = recording_scan(&recording, UINT64_MAX, &second);
		invariant(failed(r) == !good && first.votes == second.votes &&
			  first.position == second.position && first.ended == second.ended && first.ended == good);
		for (item.kind = RECORDING_ENTRY; item.kind != RECORDING_END;) {
			r = recording_next(&recording, &item);
			if (failed(r))
				break;
			check_item(&item, position);
			position = item.position;
			votes += item.kind == RECORDING_VOTE;
		}
		invariant(failed(r) == !good && votes == first.votes);
		invariant(!good || recording.at == recording.size);
	}
	recording_close(&recording);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[FILE_MOST];
	struct input input = { data, size };
	struct file file = { .writer = bytes_writer_over(bytes, sizeof(bytes)) };
	uint64_t until = input_next(&input, 1);
	char path[64];
	int fd;

	tape_file_put_header(&file.writer);
	while (input.left > 0 && file.writer.used < FILE_MOST / 2)
		step(&file, &input);
	fd = memfd_create("recording", MFD_CLOEXEC);
	invariant(fd >= 0 && write(fd, bytes, file.writer.used) == (ssize_t)file.writer.used);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_file(path, bytes, until);
	close(fd);
	return 0;
}
