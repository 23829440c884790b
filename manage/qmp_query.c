#include "manage/qmp_query.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "manage/qmp_commands.h"
#include "manage/qmp_probe.h"

/* Of QEMU's tree of objects, which has a root of this name. */
#define TREE "/machine"
#define CPU_PATH TREE "/cpu[0]"
#define DEVICES_PATH TREE "/peripheral"

static result answer_nothing(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	(void)arguments;
	return qmp_answer(answer, json_array());
}

static result query_uuid(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	return qmp_answer(answer,
			  json_pack("{s:s}", "UUID",
				    machine->uuid ? machine->uuid : "00000000-0000-0000-0000-000000000000"));
}

/* The capabilities of a migration that there is not: libvirt asks for events in any case. */
static result set_capabilities(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const json_t *list = json_object_get(arguments, "capabilities");
	const json_t *one;
	size_t i;

	(void)context;
	(void)answer;
	if (!json_is_array(list))
		return fail(STATUS_USAGE, "\"capabilities\" must be a list");
	json_array_foreach (list, i, one) {
		const char *name = json_string_value(json_object_get(one, "capability"));

		if (!name || (strcmp(name, "events") != 0 && json_is_true(json_object_get(one, "state"))))
			return fail(STATUS_USAGE, "migration has no capability \"%s\": it is not supported",
				    name ? name : "");
	}
	return OK;
}

/* The leader's: the vCPU is where its process is. */
static json_t *leader_pid(const json_t *status)
{
	size_t leader = (size_t)json_integer_value(json_object_get(status, "leader"));

	return json_object_get(json_array_get(json_object_get(status, "replica"), leader), "pid");
}

static result query_cpus(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	json_t *status = machine->status(machine->supervisor);
	result r;

	(void)arguments;
	r = qmp_answer(answer, json_pack("[{s:i, s:O, s:s, s:s, s:{s:i, s:i, s:i}}]", "cpu-index", 0,
					 "thread-id", leader_pid(status), "qom-path", CPU_PATH, "target",
					 "x86_64", "props", "socket-id", 0, "core-id", 0, "thread-id", 0));
	json_decref(status);
	return r;
}

/* libvirt gives every domain a balloon, and tells it to have all memory. */
static result balloon(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	const json_t *value = json_object_get(arguments, "value");

	(void)answer;
	if (!json_is_integer(value))
		return fail(STATUS_USAGE, "\"value\" is the memory that the guest shall have, in bytes");
	if (json_integer_value(value) != (json_int_t)machine->memory)
		return fail(STATUS_FAILED,
			    "the guest's memory is %" PRIu64
			    " bytes, and cannot be changed: tercet has no balloon",
			    machine->memory);
	return OK;
}

static result query_balloon(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;

	(void)arguments;
	return qmp_answer(answer, json_pack("{s:I}", "actual", (json_int_t)machine->memory));
}

static result query_chardev(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	json_t *list = json_array();
	char place[128];

	(void)arguments;
	if (machine->serial) {
		machine->console(machine->supervisor, place, sizeof(place));
		(void)json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "label", machine->serial,
							    "filename", place, "frontend-open", 1));
	}
	return qmp_answer(answer, list);
}

static result qom_list(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const char *path = json_string_value(json_object_get(arguments, "path"));
	const struct qmp_machine *machine = context;
	const json_t *disk;
	json_t *list;
	size_t i;

	/* Properties of a processor, of which libvirt would get each, are none of tercet's. */
	if (!path || strcmp(path, DEVICES_PATH) != 0)
		return qmp_not_found(answer, "object", path);
	list = json_array();
	json_array_foreach (machine->disks, i, disk)
		(void)json_array_append_new(list, json_pack("{s:O, s:s}", "name", json_object_get(disk, "id"),
							    "type", "child<virtio-blk-pci>"));
	return qmp_answer(answer, list);
}

static result qom_get(void *context, json_t *arguments, struct qmp_answer *answer)
{
	(void)context;
	return qmp_not_found(answer, "object", json_string_value(json_object_get(arguments, "path")));
}

/* --- disks --- */

static json_t *device_path(const json_t *disk)
{
	char path[160];

	(void)snprintf(path, sizeof(path), DEVICES_PATH "/%.100s/virtio-backend",
		       json_string_value(json_object_get(disk, "id")));
	return json_string(path);
}

static json_t *image_of(const json_t *disk, const json_t *counted)
{
	json_t *size = json_object_get(counted, "size");

	return json_pack("{s:O, s:s, s:o, s:b}", "filename", json_object_get(disk, "file"), "format", "raw",
			 "virtual-size", size ? json_incref(size) : json_integer(0), "dirty-flag", 0);
}

static json_t *node_of(const json_t *disk, const json_t *counted, const char *name, const char *driver)
{
	return json_pack("{s:O, s:O, s:s, s:O, s:i, s:b, s:s, s:{s:b, s:b, s:b}, s:i, s:i, s:i, s:i, s:i, s:i, "
			 "s:i, s:o}",
			 "file", json_object_get(disk, "file"), "node-name", json_object_get(disk, name), "drv",
			 driver, "ro", json_object_get(disk, "read_only"), "backing_file_depth", 0, "encrypted",
			 0, "detect_zeroes", "off", "cache", "writeback", 1, "direct", 0, "no-flush", 0, "bps",
			 0, "bps_rd", 0, "bps_wr", 0, "iops", 0, "iops_rd", 0, "iops_wr", 0, "write_threshold",
			 0, "image", image_of(disk, counted));
}

static json_t *counted_of(const json_t *all, const json_t *disk)
{
	return json_array_get(all, (size_t)json_integer_value(json_object_get(disk, "device")));
}

static json_t *devices_of(const struct qmp_machine *machine)
{
	return machine->devices(machine->supervisor);
}

static result query_block(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	json_t *list = json_array(), *all = devices_of(machine);
	const json_t *disk;
	size_t i;

	(void)arguments;
	json_array_foreach (machine->disks, i, disk)
		(void)json_array_append_new(list,
					    json_pack("{s:s, s:s, s:b, s:b, s:o, s:s, s:o}", "io-status", "ok",
						      "device", "", "locked", 0, "removable", 0, "inserted",
						      node_of(disk, counted_of(all, disk), "node", "raw"),
						      "type", "unknown", "qdev", device_path(disk)));
	json_decref(all);
	return qmp_answer(answer, list);
}

static const char *const flat[] = { "flat", NULL };

static result query_nodes(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	json_t *list = json_array(), *all = devices_of(machine);
	const json_t *disk;
	size_t i;

	(void)arguments;
	json_array_foreach (machine->disks, i, disk) {
		const json_t *counted = counted_of(all, disk);
		bool same = json_equal(json_object_get(disk, "node"), json_object_get(disk, "storage"));

		(void)json_array_append_new(list, node_of(disk, counted, "node", "raw"));
		if (!same)
			(void)json_array_append_new(list, node_of(disk, counted, "storage", "file"));
	}
	json_decref(all);
	return qmp_answer(answer, list);
}

static void copy_count(json_t *stats, const char *to, const json_t *counted, const char *from)
{
	const json_t *value = json_object_get(counted, from);

	(void)json_object_set_new(stats, to, json_integer(json_integer_value(value)));
}

static json_t *stats_of(const json_t *counted)
{
	static const struct {
		const char *to, *from;
	} counts[] = {
		{ "rd_operations", "reads" },
		{ "rd_bytes", "bytes_read" },
		{ "rd_total_time_ns", "read_ns" },
		{ "wr_operations", "writes" },
		{ "wr_bytes", "bytes_written" },
		{ "wr_total_time_ns", "write_ns" },
		{ "wr_highest_offset", "highest_offset" },
		{ "flush_operations", "flushes" },
		{ "flush_total_time_ns", "flush_ns" },
	};
	json_t *stats = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		copy_count(stats, counts[i].to, counted, counts[i].from);
	return stats;
}

static const char *const by_node[] = { "query-nodes", NULL };

static result query_blockstats(void *context, json_t *arguments, struct qmp_answer *answer)
{
	const struct qmp_machine *machine = context;
	bool nodes = json_is_true(json_object_get(arguments, "query-nodes"));
	json_t *list = json_array(), *all = devices_of(machine);
	const json_t *disk;
	size_t i;

	json_array_foreach (machine->disks, i, disk) {
		json_t *entry = json_pack("{s:O, s:o}", "node-name", json_object_get(disk, "node"), "stats",
					  stats_of(counted_of(all, disk)));

		if (!nodes) {
			(void)json_object_set_new(entry, "device", json_string(""));
			(void)json_object_set_new(entry, "qdev", device_path(disk));
		}
		(void)json_array_append_new(list, entry);
	}
	json_decref(all);
	return qmp_answer(answer, list);
}

static const char *const capabilities[] = { "capabilities", NULL };
static const char *const balloon_parameters[] = { "value", NULL };
static const char *const list_parameters[] = { "path", NULL };
static const char *const property[] = { "path", "property", NULL };

static const struct qmp_command commands[] = {
	{ "balloon", balloon_parameters, balloon },
	{ "migrate-set-capabilities", capabilities, set_capabilities },
	{ "qom-get", property, qom_get },
	{ "qom-list", list_parameters, qom_list },
	{ "query-balloon", NULL, query_balloon },
	{ "query-block", NULL, query_block },
	{ "query-block-jobs", NULL, answer_nothing },
	{ "query-blockstats", by_node, query_blockstats },
	{ "query-chardev", NULL, query_chardev },
	{ "query-cpus-fast", NULL, query_cpus },
	{ "query-jobs", NULL, answer_nothing },
	{ "query-named-block-nodes", flat, query_nodes },
	{ "query-uuid", NULL, query_uuid },
};

const struct qmp_interface qmp_query_commands = {
	.commands = commands,
	.count = ARRAY_SIZE(commands),
	.next = &qmp_probe_commands,
};
