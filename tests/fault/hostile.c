/*
 * tercet with replicas that may be hostile: they run tercet's own code, and meanwhile write into their own memory
 * what they should not. As a program: `hostile run OPTIONS` is `tercet run OPTIONS`, and the environment says what a
 * replica does (plan.h).
 *
 * Two of tercet's functions are replaced as the program is linked (ld --wrap): a lie is told at the very moment at
 * which the truth would have been.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "lockstep/replica.h"
#include "lockstep/spawner.h"
#include "lockstep/supervisor.h"
#include "manage/monitor.h"
#include "manage/options.h"
#include "manage/qmp_commands.h"
#include "tests/fault/forge_record.h"
#include "tests/fault/forge_tape.h"
#include "tests/fault/plan.h"
#include "tests/fault/poke.h"
#include "tests/fault/scheme.h"

static struct plan plan;
static bool armed; /* a replica's process, with a plan */

/* The names are the linker's: __real_F is F, and whoever calls F from another file gets __wrap_F. */
uint32_t __real_vote_record_crc(const struct vote_record *record);
uint32_t __wrap_vote_record_crc(const struct vote_record *record);
uint64_t __real_tape_write(struct tape_writer *writer, enum tape_kind kind, uint64_t position, const void *payload,
			   uint16_t length);
uint64_t __wrap_tape_write(struct tape_writer *writer, enum tape_kind kind, uint64_t position, const void *payload,
			   uint16_t length);

/* Called once a record is complete but for its checksum. */
uint32_t __wrap_vote_record_crc(const struct vote_record *record)
{
	if (armed) {
		scheme_vote(&plan, record->number);
		forge_record_publish(&plan, record->number);
	}
	return __real_vote_record_crc(record);
}

uint64_t __wrap_tape_write(struct tape_writer *writer, enum tape_kind kind, uint64_t position, const void *payload,
			   uint16_t length)
{
	if (!armed)
		return __real_tape_write(writer, kind, position, payload, length);
	scheme_tape(&plan, writer);
	return forge_tape_write(&plan, __real_tape_write, writer, kind, position, payload, length);
}

static int report(result r)
{
	if (!failed(r))
		return STATUS_OK;
	log_error("%s", r.failure->message);
	return (int)r.failure->status;
}

static int run_main(int argc, char **argv)
{
	struct machine_options options;
	struct monitor_options monitor_options;
	struct monitor *monitor;
	result r = options_parse(argc, argv, &options, &monitor_options);

	if (failed(r))
		return report(r);
	log_set_verbose(options.verbose);
	options.argc = argc + 1;
	options.argv = argv - 1;
	r = monitor_open(&monitor, &monitor_options, options.name);
	if (failed(r))
		return report(r);
	options.name = monitor_name(monitor);
	const struct qmp_machine machine = qmp_commands_machine(options.memory);

	options.service = monitor_service(monitor, &machine);
	r = supervisor_run(&options);
	monitor_close(monitor);
	return report(r);
}

static int replica_role(const char *number)
{
	int config_fd = (int)strtol(number, NULL, 10);
	result r = plan_take(&plan, config_fd);

	if (failed(r))
		return report(r);
	r = poke_start(&plan);
	if (!failed(r))
		r = scheme_start(&plan);
	if (failed(r))
		return report(r);
	armed = true;
	return replica_main(config_fd);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], SPAWNER_ROLE) == 0)
		return replica_role(argv[2]);
	if (argc >= 2 && strcmp(argv[1], "run") == 0)
		return run_main(argc - 1, argv + 1);
	(void)fprintf(stderr, "usage: hostile run OPTIONS, with\n%s%s%s", plan_usage(), poke_usage(), scheme_usage());
	return STATUS_USAGE;
}
