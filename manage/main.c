/* What was asked for -> one role: supervisor, replica, or a command that only tells something. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "lockstep/replica.h"
#include "lockstep/spawner.h"
#include "lockstep/supervisor.h"
#include "manage/client_control.h"
#include "manage/client_events.h"
#include "manage/client_inject.h"
#include "manage/client_metrics.h"
#include "manage/client_status.h"
#include "manage/doctor.h"
#include "manage/monitor.h"
#include "manage/options.h"
#include "manage/qemu.h"
#include "manage/qmp_commands.h"
#include "manage/recordings.h"

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
	/* As it was given, with the program's name and the command's. */
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

static int version_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	(void)printf("tercet %s\n", TERCET_VERSION);
	return STATUS_OK;
}

static int help_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	(void)printf("tercet runs one virtual machine as three replicas in lockstep and votes on what they do.\n\n"
		     "tercet run OPTIONS         run a machine until its guest powers off\n"
		     "%s\n"
		     "tercet list                the machines that run\n"
		     "tercet status VM           how one is doing, as a live table (or --once, --json, --watch);\n"
		     "                           VM is its name, or the path of its monitor's socket\n"
		     "tercet events VM [--json]  what happens to it, until it ends\n"
		     "tercet metrics VM|--all [--output FILE]\n"
		     "                           numbers of one or all, as OpenMetrics text\n"
		     "tercet inject VM --replica R --target TARGET [--at POSITION|now]\n"
		     "                           damage a replica on purpose (--list [--json]: what can be hit)\n"
		     "tercet pause VM            have it stand still\n"
		     "tercet resume VM           and go on\n"
		     "tercet reset VM            have it begin again, as if it were switched off and on\n"
		     "tercet powerdown VM        press its power button\n"
		     "tercet quit VM             end it, whatever its guest does\n"
		     "tercet replay FILE         run a recording again on one replica, and check every vote of it:\n"
		     "                           --until POSITION: as far as that; --stop-at POSITION: and stop\n"
		     "                           there, --dump: with registers and devices; --kernel, --payload,\n"
		     "                           --initrd FILE: where these are now; --watchdog TIME; --verbose\n"
		     "tercet diff FILE FILE      where two recordings differ first\n"
		     "tercet doctor [--json]     what this host can do, and what to do about what it cannot\n"
		     "tercet version             the version\n"
		     "tercet help                this text; tercet(1) has more\n",
		     options_help());
	return STATUS_OK;
}

/* A replica process, started by a supervisor with its configuration's descriptor. */
static int replica_role(int argc, char **argv)
{
	char *end;
	long fd;

	if (argc != 2)
		return STATUS_USAGE;
	fd = strtol(argv[1], &end, 10);
	if (end == argv[1] || *end != '\0' || fd < 3 || fd > 1 << 20)
		return STATUS_USAGE;
	return replica_main((int)fd);
}

struct command {
	const char *name;
	int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
	{ "run", run_main },
	{ "list", client_status_list_main },
	{ "status", client_status_main },
	{ "events", client_events_main },
	{ "metrics", client_metrics_main },
	{ "inject", client_inject_main },
	{ "pause", client_control_main },
	{ "resume", client_control_main },
	{ "reset", client_control_main },
	{ "powerdown", client_control_main },
	{ "quit", client_control_main },
	{ "replay", recordings_replay_main },
	{ "diff", recordings_diff_main },
	{ "doctor", doctor_main },
	{ "version", version_main },
	{ "help", help_main },
	{ "--version", version_main },
	{ "--help", help_main },
	{ "-h", help_main },
	{ SPAWNER_ROLE, replica_role },
};

/* Where a standard descriptor is closed, a file of ours would get its number, and be taken for the console. What
 * stands in cannot be used, which says the same as before. */
static void fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int argc, char **argv)
{
	fill_standard_descriptors();
	if (argc > 0 && qemu_is_meant(argv[0]))
		return qemu_main(argc, argv);
	if (argc < 2) {
		log_error("say what to do: tercet run, list, status, events, metrics, inject, pause, resume, reset, "
			  "powerdown, quit, replay, diff, doctor, version or help");
		return STATUS_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	log_error("what is \"%s\"? tercet run, list, status, events, metrics, inject, pause, resume, reset, powerdown, "
		  "quit, replay, diff, doctor, version and help are possible",
		  argv[1]);
	return STATUS_USAGE;
}
