#include "tests/unit/process_status.h"

#include <stdio.h>
#include <string.h>

#include "tests/unit/fixture.h"

void process_status_of(pid_t pid, const char *key, char *value, size_t size)
{
	char path[64], line[256];

	value[0] = '\0';
	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *stream = fopen(path, "r");

	ck_assert_ptr_nonnull(stream);
	while (fgets(line, sizeof(line), stream))
		if (strncmp(line, key, strlen(key)) == 0 && line[strlen(key)] == ':')
			(void)snprintf(value, size, "%s", line + strlen(key) + 2);
	(void)fclose(stream);
	value[strcspn(value, "\n")] = '\0';
	ck_assert_msg(value[0] != '\0', "%s has no %s", path, key);
}

void process_status_must_be(pid_t pid, const char *key, const char *wanted)
{
	char value[64];

	process_status_of(pid, key, value, sizeof(value));
	ck_assert_str_eq(value, wanted);
}
