/* A supervisor at work in its sandbox: votes, a replica that is lost and replaced, statistics, and a report. */
#include "tests/unit/supervised.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lockstep/ending.h"
#include "lockstep/repair.h"
#include "lockstep/sandbox.h"
#include "lockstep/watch.h"

static char folder[] = "/tmp/test-sandbox.XXXXXX";
static char statistics[64], reports[64];
static struct supervised supervised;

static void lose(unsigned index)
{
	struct supervisor *supervisor = supervised.supervisor;

	must_succeed(repair_lose(supervisor, &supervisor->members[index], "died", "killed"));
	ck_assert_int_eq(supervisor->care[index].phase, CARE_GONE);
	supervised_follow(&supervised);
	must_succeed(repair_continue(supervisor));
	ck_assert_int_eq(supervisor->care[index].phase, CARE_JOINING);
	ck_assert_int_gt(supervisor->members[index].pid, 0);
}

static void work(void)
{
	struct supervisor *supervisor = supervised.supervisor;
	const struct failure failure = { .status = STATUS_NO_MAJORITY, .message = "nobody is right" };

	supervised_agree(&supervised, 100);
	must_succeed(watch_look(supervisor));
	/* The leader, then its new process, and a follower. */
	lose(0);
	lose(0);
	lose(2);
	supervised_agree(&supervised, 200);
	supervisor->tally.end = "stopped";
	supervisor->tally.commit_latency = &supervisor->commit.latency;
	supervisor->tally.devices = backends_statistics(supervisor->backends);
	must_succeed(tally_write(&supervisor->tally, supervisor->members, 3, supervisor->leader, statistics));
	ending_report(supervisor, &failure);
}

static int run(void)
{
	const struct sandbox sandbox = { .role = SANDBOX_SUPERVISOR };

	supervised_make(&supervised, 3);
	supervised.options.reports = reports;
	must_succeed(sandbox_enter(&sandbox));
	work();
	supervised_destroy(&supervised);
	return 0;
}

/* How many entries a folder has whose names begin like this; they are removed, if they are not folders. */
static unsigned take(const char *path, const char *prefix)
{
	struct dirent **entries;
	unsigned taken = 0;
	int count = scandir(path, &entries, NULL, alphasort);

	ck_assert_int_ge(count, 0);
	for (int i = 0; i < count; i++) {
		const char *entry = entries[i]->d_name;
		char name[512];

		(void)snprintf(name, sizeof(name), "%s/%s", path, entry);
		if (entry[0] != '.' && strncmp(entry, prefix, strlen(prefix)) == 0) {
			taken++;
			if (unlink(name) < 0) {
				(void)take(name, "");
				(void)rmdir(name);
			}
		}
		free(entries[i]);
	}
	free(entries);
	return taken;
}

START_TEST(works)
{
	int status;
	pid_t pid;

	if (sandbox_sanitized()) {
		printf("skip a supervisor in its sandbox: this test was built with a sanitizer\n");
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(statistics, sizeof(statistics), "%s/statistics", folder);
	(void)snprintf(reports, sizeof(reports), "%s/reports", folder);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		_exit(run());
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(status == 0, "status 0x%x", (unsigned)status);
	ck_assert_uint_eq(take(folder, "statistics"), 1);
	ck_assert_uint_eq(take(reports, "tercet-"), 1);
	(void)rmdir(reports);
	ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

int main(int argc, char **argv)
{
	supervised_be_replica(argc, argv);

	Suite *suite = suite_create("sandboxed supervisor");
	TCase *tests = tcase_create("supervisor");

	tcase_add_test(tests, works);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
