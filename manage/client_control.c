#include "manage/client_control.h"

#include <string.h>

#include "manage/client.h"

/* What the monitor calls it. */
static const struct {
	const char *verb, *command;
} verbs[] = {
	{ "pause", "stop" },
	{ "resume", "cont" },
	{ "reset", "system_reset" },
	{ "powerdown", "system_powerdown" },
	{ "quit", "quit" },
};

static result control(int argc, char **argv)
{
	const char *command = NULL;
	struct client client;

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].verb, argv[0]) == 0)
			command = verbs[i].command;
	invariant(command);
	if (argc != 2 || argv[1][0] == '-')
		return fail(STATUS_USAGE, "%s: of which machine? tercet %s VM", argv[0], argv[0]);
	result r = client_open(&client, argv[1]);

	if (!failed(r))
		r = client_ask(&client, command, NULL, NULL);
	client_close(&client);
	return r;
}

int client_control_main(int argc, char **argv)
{
	return client_report(control(argc, argv));
}
