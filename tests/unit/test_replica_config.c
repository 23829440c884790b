/* What a replica is told: handed over whole, and refused when it is not what a supervisor writes. */
#include "tests/unit/guest_memory.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "lockstep/replica_config.h"

static struct replica_config config, taken;

static void setup(void)
{
	memset(&config, 0, sizeof(config));
	config.index = 2;
	config.replicas = 3;
	config.crowding = 2;
	config.memory = 64 << 20;
	config.kind = BOOT_PAYLOAD;
	config.ram_fd = 17;
	config.initrd_fd = -1;
	config.faults = 1;
	config.fault[0].bit = 5;
	memcpy(config.kernel_name, "kernel", 7);
	memcpy(config.command_line, "one two", 8);
}

START_TEST(passes)
{
	int fd;

	must_succeed(replica_config_pass(&config, &fd));
	must_succeed(replica_config_take(&taken, fd));
	config.magic = taken.magic;
	config.size = sizeof(config);
	ck_assert_mem_eq(&taken, &config, sizeof(config));
	/* Its writer kept nothing but the memory itself: it can be taken again. */
	must_succeed(replica_config_take(&taken, fd));
}
END_TEST

/* Hands over a configuration that is wrong in one place. */
static result take_changed(size_t offset, const void *value, size_t width)
{
	int fd;

	must_succeed(replica_config_pass(&config, &fd));
	ck_assert_int_eq(pwrite(fd, value, width, (off_t)offset), (ssize_t)width);
	result r = replica_config_take(&taken, fd);

	fd_close(&fd);
	return r;
}

#define FIELD(member, value, good) { offsetof(struct replica_config, member), value, good }

static const struct change {
	size_t offset;
	uint32_t value;
	bool good;
} changes[] = {
	FIELD(magic, 0, false),
	FIELD(size, sizeof(struct replica_config) - 1, false),
	FIELD(replicas, 0, false),
	FIELD(replicas, 2, false), /* the index is 2 */
	FIELD(replicas, VOTE_REPLICAS_MAX, true),
	FIELD(replicas, VOTE_REPLICAS_MAX + 1, false),
	FIELD(replicas, UINT32_MAX, false),
	FIELD(index, 0, true),
	FIELD(index, 3, false),
	FIELD(index, UINT32_MAX, false),
	FIELD(crowding, 0, false),
	FIELD(crowding, 1, true),
	FIELD(crowding, 3, true),
	FIELD(crowding, 4, false),
	FIELD(kind, BOOT_LINUX, true),
	FIELD(kind, 2, false),
	FIELD(kind, UINT32_MAX, false),
	FIELD(faults, INJECT_FAULTS_MAX, true),
	FIELD(faults, INJECT_FAULTS_MAX + 1, false),
	FIELD(faults, UINT32_MAX, false),
};

START_TEST(fields)
{
	const struct change *change = &changes[_i];
	result r = take_changed(change->offset, &change->value, sizeof(change->value));

	if (change->good)
		must_succeed(r);
	else
		must_fail(r, STATUS_FAILED, "a replica's configuration is damaged");
}
END_TEST

START_TEST(texts_end)
{
	static const char endless[BOOT_COMMAND_LINE_MAX] = { 0 };
	char text[BOOT_COMMAND_LINE_MAX];
	const struct {
		size_t offset, size;
	} texts[] = {
		{ offsetof(struct replica_config, kernel_name), sizeof(config.kernel_name) },
		{ offsetof(struct replica_config, initrd_name), sizeof(config.initrd_name) },
		{ offsetof(struct replica_config, command_line), sizeof(config.command_line) },
	};

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		must_fail(take_changed(texts[i].offset, text, texts[i].size), STATUS_FAILED, "damaged");
		must_succeed(take_changed(texts[i].offset, text, texts[i].size - 1));
		must_succeed(take_changed(texts[i].offset, endless, texts[i].size));
	}
}
END_TEST

START_TEST(other_memories)
{
	int fd;

	must_succeed(fd_sealed_memory(&fd, "test", sizeof(config) + 1));
	must_fail(replica_config_take(&taken, fd), STATUS_FAILED, "a replica's configuration has");
	must_fail(replica_config_take(&taken, guest_memory_file(&config, sizeof(config), sizeof(config))),
		  STATUS_FAILED, "not a sealed memory");
	must_succeed(fd_sealed_memory(&fd, "test", sizeof(config)));
	must_fail(replica_config_take(&taken, fd), STATUS_FAILED, "damaged");
	must_fail(replica_config_take(&taken, -1), STATUS_FAILED, "not a sealed memory");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("replica_config");
	TCase *tests = tcase_create("hand-over");

	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, passes);
	tcase_add_loop_test(tests, fields, 0, (int)ARRAY_SIZE(changes));
	tcase_add_test(tests, texts_end);
	tcase_add_test(tests, other_memories);
	suite_add_tcase(suite, tests);
	return fixture_run(suite);
}
