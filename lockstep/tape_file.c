#include "lockstep/tape_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "vmm/ram.h"
#include "vmm/registers.h"

enum { MAGIC_SIZE = sizeof(TAPE_FILE_MAGIC) - 1, CRC_SIZE = 4 };

_Static_assert(MAGIC_SIZE + 8 == TAPE_FILE_HEADER_SIZE, "magic, version, checksum");

static uint32_t crc_of(const uint8_t *bytes, size_t size)
{
	return (uint32_t)crc32_z(0, bytes, size);
}

/* --- the file's header --- */

void tape_file_put_header(struct bytes_writer *out)
{
	uint8_t bytes[TAPE_FILE_HEADER_SIZE - CRC_SIZE];

	memcpy(bytes, TAPE_FILE_MAGIC, MAGIC_SIZE);
	bytes_store_u32(bytes + MAGIC_SIZE, TAPE_FILE_VERSION);
	bytes_put(out, bytes, sizeof(bytes));
	bytes_put_u32(out, crc_of(bytes, sizeof(bytes)));
}

result tape_file_check_header(const uint8_t header[TAPE_FILE_HEADER_SIZE])
{
	const uint32_t version = bytes_load_u32(header + MAGIC_SIZE);

	if (memcmp(header, TAPE_FILE_MAGIC, MAGIC_SIZE) != 0)
		return fail(STATUS_INPUT, "this is no recording of tercet's");
	if (bytes_load_u32(header + MAGIC_SIZE + 4) != crc_of(header, MAGIC_SIZE + 4))
		return fail(STATUS_INPUT, "the header is damaged: wrong checksum");
	if (version != TAPE_FILE_VERSION)
		return fail(STATUS_INPUT, "this is a recording of format %" PRIu32 ", and tercet %s reads format %u",
			    version, TERCET_VERSION, TAPE_FILE_VERSION);
	return OK;
}

/* --- records --- */

static size_t padded(uint32_t length)
{
	return ((size_t)length + 7) / 8 * 8;
}

size_t tape_file_record_size(uint32_t length)
{
	return TAPE_FILE_HEAD_SIZE + padded(length);
}

void tape_file_put_record(struct bytes_writer *out, const struct tape_file_record *record, const void *payload)
{
	static const uint8_t zeros[8];
	const size_t begin = out->used;

	invariant(record->length <= TAPE_FILE_PAYLOAD_MAX);
	bytes_put_u32(out, 0);
	bytes_put_u16(out, (uint16_t)record->kind);
	bytes_put_u16(out, 0);
	bytes_put_u32(out, record->length);
	bytes_put_u32(out, record->number);
	bytes_put(out, payload, record->length);
	bytes_put(out, zeros, padded(record->length) - record->length);
	if (!out->overflow)
		bytes_store_u32(out->data + begin,
				crc_of(out->data + begin + CRC_SIZE, out->used - begin - CRC_SIZE));
}

result tape_file_read_head(const uint8_t head[TAPE_FILE_HEAD_SIZE], struct tape_file_record *record)
{
	struct bytes_reader reader = bytes_reader_over(head + CRC_SIZE, TAPE_FILE_HEAD_SIZE - CRC_SIZE);
	const uint16_t kind = bytes_get_u16(&reader);
	const uint16_t zero = bytes_get_u16(&reader);

	record->length = bytes_get_u32(&reader);
	record->number = bytes_get_u32(&reader);
	record->kind = (enum tape_file_kind)kind;
	if (kind == 0 || kind >= TAPE_FILE_KINDS || zero != 0 || record->length > TAPE_FILE_PAYLOAD_MAX)
		return fail(STATUS_INPUT, "it is damaged: kind %u, %" PRIu32 " bytes", kind, record->length);
	return OK;
}

result tape_file_check_record(const uint8_t *bytes, size_t size)
{
	if (bytes_load_u32(bytes) != crc_of(bytes + CRC_SIZE, size - CRC_SIZE))
		return fail(STATUS_INPUT, "it is damaged: wrong checksum");
	return OK;
}

/* --- what stands in them --- */

static void put_text(struct bytes_writer *out, const char *text)
{
	const size_t length = strlen(text);

	bytes_put_u16(out, (uint16_t)length);
	bytes_put(out, text, length);
}

/* A text of at most size - 1 bytes without a zero in it. */
static void get_text(struct bytes_reader *reader, char *text, size_t size)
{
	const uint16_t length = bytes_get_u16(reader);

	memset(text, 0, size);
	if (length >= size) {
		reader->underflow = true;
		return;
	}
	bytes_get(reader, text, length);
	if (strlen(text) != length)
		reader->underflow = true;
}

static result finish(const struct bytes_reader *reader, bool valid, const char *what)
{
	if (reader->underflow || reader->at != reader->size || !valid)
		return fail(STATUS_INPUT, "it has no %s that tercet writes", what);
	return OK;
}

static void put_image(struct bytes_writer *out, const struct tape_file_image *image)
{
	put_text(out, image->path);
	bytes_put_u64(out, image->size);
	bytes_put(out, image->hash, sizeof(image->hash));
}

static void get_image(struct bytes_reader *reader, struct tape_file_image *image)
{
	get_text(reader, image->path, sizeof(image->path));
	image->size = bytes_get_u64(reader);
	bytes_get(reader, image->hash, sizeof(image->hash));
}

static void put_device(struct bytes_writer *out, const struct board_pci_device *device)
{
	bytes_put_u32(out, (uint32_t)device->kind);
	bytes_put_u32(out, device->read_only);
	bytes_put_u64(out, device->disk_size);
	bytes_put(out, device->serial, sizeof(device->serial));
	bytes_put(out, device->mac, sizeof(device->mac));
}

static bool get_device(struct bytes_reader *reader, struct board_pci_device *device)
{
	const uint32_t kind = bytes_get_u32(reader);
	const uint32_t read_only = bytes_get_u32(reader);

	*device = (struct board_pci_device){ .kind = (enum board_pci_kind)kind, .read_only = read_only != 0 };
	device->disk_size = bytes_get_u64(reader);
	bytes_get(reader, device->serial, sizeof(device->serial));
	bytes_get(reader, device->mac, sizeof(device->mac));
	return kind >= BOARD_PCI_DISK && kind <= BOARD_PCI_CONSOLE && read_only <= 1;
}

void tape_file_save_machine(const struct tape_file_machine *machine, struct bytes_writer *out)
{
	put_text(out, machine->version);
	bytes_put_u64(out, (uint64_t)machine->recorded);
	bytes_put_u32(out, machine->replicas);
	bytes_put_u32(out, machine->kind);
	bytes_put_u64(out, machine->memory);
	bytes_put_u64(out, (uint64_t)machine->rtc_epoch);
	bytes_put(out, machine->digest_key, sizeof(machine->digest_key));
	bytes_put(out, machine->seed, sizeof(machine->seed));
	put_image(out, &machine->kernel);
	put_image(out, &machine->initrd);
	put_text(out, machine->command_line);
	bytes_put_u32(out, machine->pci_count);
	for (size_t i = 0; i < machine->pci_count; i++)
		put_device(out, &machine->pci[i]);
}

result tape_file_load_machine(struct tape_file_machine *machine, const uint8_t *data, size_t size)
{
	struct bytes_reader reader = bytes_reader_over(data, size);
	bool devices = true;

	get_text(&reader, machine->version, sizeof(machine->version));
	machine->recorded = (int64_t)bytes_get_u64(&reader);
	machine->replicas = bytes_get_u32(&reader);
	machine->kind = bytes_get_u32(&reader);
	machine->memory = bytes_get_u64(&reader);
	machine->rtc_epoch = (int64_t)bytes_get_u64(&reader);
	bytes_get(&reader, machine->digest_key, sizeof(machine->digest_key));
	bytes_get(&reader, machine->seed, sizeof(machine->seed));
	get_image(&reader, &machine->kernel);
	get_image(&reader, &machine->initrd);
	get_text(&reader, machine->command_line, sizeof(machine->command_line));
	machine->pci_count = bytes_get_u32(&reader);
	devices = machine->pci_count <= BOARD_PCI_MAX;
	for (size_t i = 0; devices && i < machine->pci_count; i++)
		devices = get_device(&reader, &machine->pci[i]);
	return finish(&reader,
		      machine->replicas >= 1 && machine->replicas <= VOTE_REPLICAS_MAX &&
			      (machine->kind == BOOT_LINUX || machine->kind == BOOT_PAYLOAD) &&
			      !failed(ram_check_size(machine->memory)) && machine->kernel.path[0] && devices,
		      "description of a machine");
}

void tape_file_save_vote(const struct tape_file_vote *vote, struct bytes_writer *out)
{
	bytes_put_u64(out, vote->number);
	bytes_put_u64(out, vote->position);
	bytes_put_u32(out, vote->cause);
	bytes_put_u32(out, vote->end);
	bytes_put_u64(out, vote->end_value);
	bytes_put_u64(out, vote->guest_ns);
	bytes_put_u64(out, vote->output_end);
	bytes_put_u64(out, vote->console_taken);
	bytes_put_u64(out, vote->buttons_taken);
	bytes_put_u64(out, vote->inbox_taken);
	bytes_put_u64(out, vote->halted);
	bytes_put_u64(out, vote->resets_taken);
	bytes_put_u64(out, vote->boots);
	for (size_t i = 0; i < VOTE_DIGESTS; i++)
		bytes_put(out, vote->ballot.digests[i].bytes, DIGEST_SIZE);
	for (size_t i = 0; i < GPR_COUNT; i++)
		bytes_put_u64(out, vote->gpr[i]);
	bytes_put_u64(out, vote->rip);
	bytes_put_u64(out, vote->rflags);
}

result tape_file_load_vote(struct tape_file_vote *vote, const uint8_t *data, size_t size)
{
	struct bytes_reader reader = bytes_reader_over(data, size);

	vote->number = bytes_get_u64(&reader);
	vote->position = bytes_get_u64(&reader);
	vote->cause = bytes_get_u32(&reader);
	vote->end = bytes_get_u32(&reader);
	vote->end_value = bytes_get_u64(&reader);
	vote->guest_ns = bytes_get_u64(&reader);
	vote->output_end = bytes_get_u64(&reader);
	vote->console_taken = bytes_get_u64(&reader);
	vote->buttons_taken = bytes_get_u64(&reader);
	vote->inbox_taken = bytes_get_u64(&reader);
	vote->halted = bytes_get_u64(&reader);
	vote->resets_taken = bytes_get_u64(&reader);
	vote->boots = bytes_get_u64(&reader);
	for (size_t i = 0; i < VOTE_DIGESTS; i++)
		bytes_get(&reader, vote->ballot.digests[i].bytes, DIGEST_SIZE);
	for (size_t i = 0; i < GPR_COUNT; i++)
		vote->gpr[i] = bytes_get_u64(&reader);
	vote->rip = bytes_get_u64(&reader);
	vote->rflags = bytes_get_u64(&reader);
	return finish(&reader, vote->cause > 0 && vote->cause < VOTE_CAUSES && vote->end <= END_DEAD_HALT, "vote");
}

void tape_file_save_end(const struct tape_file_end *end, struct bytes_writer *out)
{
	bytes_put_u32(out, end->end);
	bytes_put_u64(out, end->end_value);
	bytes_put_u64(out, end->position);
	bytes_put_u64(out, end->votes);
	bytes_put_u64(out, end->entries);
}

result tape_file_load_end(struct tape_file_end *end, const uint8_t *data, size_t size)
{
	struct bytes_reader reader = bytes_reader_over(data, size);

	end->end = bytes_get_u32(&reader);
	end->end_value = bytes_get_u64(&reader);
	end->position = bytes_get_u64(&reader);
	end->votes = bytes_get_u64(&reader);
	end->entries = bytes_get_u64(&reader);
	return finish(&reader, end->end <= END_DEAD_HALT, "end");
}

/* --- votes --- */

struct tape_file_vote tape_file_vote_of(const struct vote_record *record)
{
	struct tape_file_vote vote = {
		.number = record->number,
		.position = record->position,
		.cause = record->cause,
		.end = record->end,
		.end_value = record->end_value,
		.guest_ns = record->guest_ns,
		.output_end = record->output_end,
		.console_taken = record->console_taken,
		.buttons_taken = record->buttons_taken,
		.inbox_taken = record->inbox_taken,
		.halted = record->halted,
		.resets_taken = record->resets_taken,
		.boots = record->boots,
		.ballot = record->ballot,
		.rip = record->cpu.rip,
		.rflags = record->cpu.rflags,
	};

	memcpy(vote.gpr, record->cpu.gpr, sizeof(vote.gpr));
	return vote;
}

/* A list of differences, as a text. */
struct differences {
	char *text;
	size_t size, used;
	bool any;
};

static void add(struct differences *list, const char *difference)
{
	int length = snprintf(list->text + list->used, list->size - list->used, "%s%s", list->any ? "; " : "",
			      difference);

	list->any = true;
	list->used += length > 0 ? (size_t)length : 0;
	if (list->used >= list->size)
		list->used = list->size - 1;
}

static void add_number(struct differences *list, const char *name, uint64_t a, uint64_t b)
{
	char text[96];

	if (a == b)
		return;
	(void)snprintf(text, sizeof(text), "%s is %" PRIu64 ", not %" PRIu64, name, a, b);
	add(list, text);
}

static void add_register(struct differences *list, const char *name, uint64_t a, uint64_t b)
{
	char text[96];

	if (a == b)
		return;
	(void)snprintf(text, sizeof(text), "%s is 0x%" PRIx64 ", not 0x%" PRIx64, name, a, b);
	add(list, text);
}

static void add_digest(struct differences *list, enum vote_digest which, const struct vote_ballot *a,
		       const struct vote_ballot *b)
{
	const uint8_t *one = a->digests[which].bytes, *other = b->digests[which].bytes;
	char text[128];

	if (memcmp(one, other, DIGEST_SIZE) == 0)
		return;
	/* Enough of them to tell them apart. */
	(void)snprintf(text, sizeof(text), "the digest of %s is %02x%02x%02x%02x..., not %02x%02x%02x%02x...",
		       vote_digest_name(which), one[0], one[1], one[2], one[3], other[0], other[1], other[2], other[3]);
	add(list, text);
}

bool tape_file_compare_votes(const struct tape_file_vote *a, const struct tape_file_vote *b, bool with_digests,
			     char *text, size_t size)
{
	struct differences list = { .text = text, .size = size };

	text[0] = '\0';
	add_number(&list, "the vote's number", a->number, b->number);
	add_number(&list, "the position", a->position, b->position);
	add_number(&list, "its cause", a->cause, b->cause);
	add_number(&list, "the end", a->end, b->end);
	add_number(&list, "the end's value", a->end_value, b->end_value);
	add_number(&list, "the guest's time in ns", a->guest_ns, b->guest_ns);
	add_number(&list, "the length of its output", a->output_end, b->output_end);
	add_number(&list, "the number of key presses", a->console_taken, b->console_taken);
	add_number(&list, "the number of button presses", a->buttons_taken, b->buttons_taken);
	add_number(&list, "what was taken from the inbox", a->inbox_taken, b->inbox_taken);
	add_number(&list, "halted", a->halted, b->halted);
	add_number(&list, "the number of resets that were asked for", a->resets_taken, b->resets_taken);
	add_number(&list, "the number of resets", a->boots, b->boots);
	for (enum vote_digest d = 0; with_digests && d < VOTE_DIGESTS; d++)
		add_digest(&list, d, &a->ballot, &b->ballot);
	/* The register table has the general registers first. */
	for (size_t i = 0; i < GPR_COUNT; i++)
		add_register(&list, register_table[i].name, a->gpr[i], b->gpr[i]);
	add_register(&list, "rip", a->rip, b->rip);
	add_register(&list, "rflags", a->rflags, b->rflags);
	return list.any;
}
