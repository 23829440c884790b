#include "tests/unit/stopped_machine.h"

#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked_word.h"
#include "base/fd.h"
#include "devices/board.h"

#define MIB (UINT64_C(1) << 20)

struct stopped_machine stopped;

static char *arguments[] = { "build/tercet", "run", "--append", "a b", NULL };

static void make_record(struct vote_record *record)
{
	struct board *board;
	const struct board_config config = { .ram_size = 16 * MIB };
	struct bytes_writer writer = bytes_writer_over(record->devices, sizeof(record->devices));

	memset(record, 0, sizeof(*record));
	must_succeed(board_create(&board, &config));
	board_save(board, &writer);
	ck_assert(!writer.overflow);
	board_destroy(board);
	record->devices_size = (uint32_t)writer.used;
	record->number = STOPPED_VOTE;
	record->position = STOPPED_POSITION;
	record->cause = VOTE_CAUSE_OUTPUT;
	record->core = 3;
	record->cpu.gpr[GPR_RAX] = 0x1122334455667788;
	record->cpu.rip = 0xFFFFFFFF81000000;
	memset(record->ballot.digests, 0x5A, sizeof(record->ballot.digests));
}

static void make_replica(unsigned i)
{
	struct area *area = &stopped.areas[i];
	uint64_t number = 1500;
	int fd;

	must_succeed(fd_sealed_memory(&fd, "area", area_size(STOPPED_PAGES)));
	must_succeed(area_map(area, fd, STOPPED_PAGES, true));
	area_init(area);
	guest_memory_make(&stopped.rams[i], 16 * MIB);
	for (uint64_t position = 1; position <= STOPPED_REACHED; position++)
		area->exit_log[position % CONTROL_EXIT_LOG] = (struct exit_record){ .position = position,
										    .reason = EXIT_PORT_OUT,
										    .address = 0x3F8,
										    .size = 1,
										    .data = position };
	checked_word_store(&area->control->reached, STOPPED_REACHED);
	checked_word_store(&area->control->tape_written, 0);
	stopped.writers[i] =
		(struct tape_writer){ .ring = area->tape, .written = &area->control->tape_written };
	tape_write(&stopped.writers[i], TAPE_TIME, 10, &number, 8);
	make_record(&stopped.records[i]);
	stopped.sides[i] = (struct report_side){
		.replica = i, .area = area, .ram = &stopped.rams[i], .record = &stopped.records[i]
	};
}

void stopped_machine_setup(void)
{
	const char *place = getenv("TMPDIR");

	/* In memory: reports wait for their file system, and a disk may have much to do for others. */
	(void)snprintf(stopped.folder, sizeof(stopped.folder), "%s/tercet-test-XXXXXX",
		       place ? place : "/dev/shm");
	ck_assert_ptr_nonnull(mkdtemp(stopped.folder));
	for (unsigned i = 0; i < STOPPED_REPLICAS; i++)
		make_replica(i);
	stopped.facts = (struct fail_stop_facts){
		.folder = stopped.folder,
		.name = "db1",
		.why = "no majority at vote 12",
		.time = STOPPED_TIME,
		.argc = (int)ARRAY_SIZE(arguments) - 1,
		.argv = arguments,
		.agreed_votes = STOPPED_VOTE,
		.agreed_position = 2900,
		.sides = stopped.sides,
		.side_count = STOPPED_REPLICAS,
	};
}

static int remove_one(const char *name, const struct stat *information, int kind, struct FTW *place)
{
	(void)information;
	(void)kind;
	(void)place;
	return remove(name);
}

void stopped_machine_teardown(void)
{
	json_decref(stopped.facts.differences);
	json_decref(stopped.facts.events);
	for (unsigned i = 0; i < STOPPED_REPLICAS; i++) {
		area_unmap(&stopped.areas[i]);
		ram_unmap(&stopped.rams[i]);
	}
	ck_assert_int_eq(nftw(stopped.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void stopped_machine_damage(void)
{
	struct exit_record *exit = &stopped.areas[2].exit_log[STOPPED_REACHED - 5];
	size_t offset, length;

	stopped.records[2].cpu.gpr[GPR_RBX] = 1 << 17;
	stopped.records[2].ballot.digests[VOTE_CPU].bytes[0] ^= 1;
	ck_assert(board_saved_device(stopped.records[2].devices, stopped.records[2].devices_size, 1, &offset,
				     &length));
	stopped.records[2].devices[offset + length - 1] ^= 0x80;
	exit->rip = 0x1234;
	must_succeed(ram_write(&stopped.rams[2], 0x7003, "\x55", 1));
	stopped.facts.differences = json_pack(
		"[{s:i, s:i, s:i, s:i, s:[s], s:n, s:[{s:s}], s:[{s:s}], s:[{s:s}]}]", "vote", STOPPED_VOTE,
		"position", STOPPED_POSITION, "replica", 2, "reference", 0, "digests", "cpu", "first_exit",
		"registers", "name", "rbx", "devices", "name", "i8259", "pages", "address", "0x7000");
	stopped.facts.events = json_pack("[{s:s}]", "event", "LOCKSTEP_STOPPED");
	ck_assert_ptr_nonnull(stopped.facts.differences);
}

const char *stopped_machine_file(const char *name)
{
	static char text[1024];

	(void)snprintf(text, sizeof(text), "%s/%s", stopped.path, name);
	return text;
}

char *stopped_machine_text(const char *name, size_t *size)
{
	static char text[8 << 20];
	FILE *file = fopen(stopped_machine_file(name), "r");

	ck_assert_msg(file != NULL, "there is no %s", stopped_machine_file(name));
	size_t length = fread(text, 1, sizeof(text) - 1, file);

	ck_assert_int_eq(fclose(file), 0);
	text[length] = '\0';
	if (size)
		*size = length;
	return text;
}

void must_have(const char *name, const char *words)
{
	ck_assert_msg(strstr(stopped_machine_text(name, NULL), words) != NULL,
		      "\"%s\" is not in %s:\n%.4000s", words, name, stopped_machine_text(name, NULL));
}

void must_not_have(const char *name, const char *words)
{
	ck_assert_msg(strstr(stopped_machine_text(name, NULL), words) == NULL, "\"%s\" is in %s", words,
		      name);
}

json_t *stopped_machine_json(void)
{
	json_error_t error;
	json_t *report = json_load_file(stopped_machine_file("report.json"), 0, &error);

	ck_assert_msg(report != NULL, "report.json: %s at line %d", error.text, error.line);
	return report;
}

unsigned stopped_machine_pages(void)
{
	return stopped_machine_entries(stopped_machine_file("pages"), false);
}

static int is_entry(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

unsigned stopped_machine_entries(const char *where, bool hidden)
{
	struct dirent **list;
	int length = scandir(where, &list, is_entry, alphasort);
	unsigned count = 0;

	ck_assert_int_ge(length, 0);
	for (int i = 0; i < length; i++) {
		count += (list[i]->d_name[0] == '.') == hidden;
		free(list[i]);
	}
	free(list);
	return count;
}

void stopped_machine_report(void)
{
	must_succeed(fail_stop_write(&stopped.facts, stopped.path, sizeof(stopped.path)));
	ck_assert_uint_eq(stopped_machine_entries(stopped.folder, true), 0);
}
