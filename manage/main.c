/* What was asked for -> one role: supervisor, replica, or a command that only tells something. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "lockstep/replica.h"
#include "lockstep/spawn.h"
#include "lockstep/supervisor.h"
#include "manage/doctor.h"
#include "manage/options.h"

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
	result r = options_parse(argc, argv, &options);

	if (failed(r))
		return report(r);
	log_set_verbose(options.verbose);
	if (options.kind == BOOT_LINUX)
		log_info("%s is appended to the kernel's command line: its delay loop cannot be calibrated yet",
			 boot_command_line_addition());
	return report(supervisor_run(&options));
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
	{ "doctor", doctor_main },
	{ "version", version_main },
	{ "help", help_main },
	{ "--version", version_main },
	{ "--help", help_main },
	{ "-h", help_main },
	{ SPAWN_ROLE, replica_role },
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
	if (argc < 2) {
		log_error("say what to do: tercet run, doctor, version or help");
		return STATUS_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	log_error("what is \"%s\"? tercet run, doctor, version and help are possible", argv[1]);
	return STATUS_USAGE;
}
