#include "manage/client_inject.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lockstep/inject.h"
#include "lockstep/vote.h"
#include "manage/client.h"

#define USAGE "tercet inject VM --replica R --target TARGET [--at POSITION|now], or tercet inject --list [--json]"

struct inject_request {
	const char *vm;
	const char *replica;
	const char *target;
	const char *at;
	bool list;
	bool json;
};

static result read_options(int argc, char **argv, struct inject_request *request)
{
	static const struct option options[] = {
		{ "replica", required_argument, NULL, 'r' },
		{ "target", required_argument, NULL, 't' },
		{ "at", required_argument, NULL, 'a' },
		{ "list", no_argument, NULL, 'l' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int id;

	*request = (struct inject_request){ .at = "now" };
	opterr = 0;
	while ((id = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		if (id == 'r')
			request->replica = optarg;
		else if (id == 't')
			request->target = optarg;
		else if (id == 'a')
			request->at = optarg;
		else if (id == 'l')
			request->list = true;
		else if (id == 'j')
			request->json = true;
		else
			return fail(STATUS_USAGE, "inject: what is %s? " USAGE, argv[optind - 1]);
	}
	if (request->list)
		return optind < argc || request->replica || request->target ? fail(STATUS_USAGE, "inject: " USAGE) : OK;
	if (argc - optind != 1 || !request->replica || !request->target || request->json)
		return fail(STATUS_USAGE, "inject: " USAGE);
	request->vm = argv[optind];
	return OK;
}

static result print_list(bool json)
{
	bool good = true;

	if (json) {
		json_t *targets = inject_targets_json();

		if (!targets)
			return fail(STATUS_FAILED, "no memory for the list of targets");
		good = json_dumpf(targets, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
		json_decref(targets);
	} else {
		good = fputs(inject_help(), stdout) != EOF;
	}
	if (!good || fflush(stdout) != 0)
		return fail(STATUS_FAILED, "inject: standard output cannot be written");
	return OK;
}

static result read_replica(const char *text, unsigned *replica)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number >= VOTE_REPLICAS_MAX)
		return fail(STATUS_USAGE, "inject: --replica %s: give the number of a replica, 0 to %d", text,
			    VOTE_REPLICAS_MAX - 1);
	*replica = (unsigned)number;
	return OK;
}

static result inject(const struct inject_request *request)
{
	struct inject_fault fault;
	struct client client;
	unsigned replica;

	/* What can be known without the machine is told without it. */
	TRY(read_replica(request->replica, &replica));
	TRY(inject_parse_target(request->target, request->at, &fault));
	fault.replica = replica;
	TRY(inject_check(&fault));
	result r = client_open(&client, request->vm);

	if (!failed(r))
		r = client_ask(&client, "inject-fault",
			       json_pack("{s:i, s:s, s:s}", "replica", (int)replica, "target", request->target, "at",
					 request->at),
			       NULL);
	client_close(&client);
	return r;
}

int client_inject_main(int argc, char **argv)
{
	struct inject_request request;
	result r = read_options(argc, argv, &request);

	if (failed(r))
		return client_report(r);
	return client_report(request.list ? print_list(request.json) : inject(&request));
}
