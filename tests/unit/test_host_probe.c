/* The verdicts on hosts of every kind, from made-up facts; and that the facts of this host can be gathered. */
#include <check.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

/* check's old name for ck_abort_msg is in the way of the name of ours. */
#undef fail
#include "base/result.h"
#include "vmm/host_facts.h"
#include "vmm/host_probe.h"

/* An AMD machine with everything that tercet can use. */
static struct host_facts good_facts(void)
{
	struct host_facts facts = {
		.kvm = HOST_KVM_OPEN,
		.api_version = KVM_API_VERSION,
		.vendor = "AuthenticAMD",
		.cpu_svm = true,
		.kvm_amd = HOST_MODULE_NESTED,
		.svm_offered = true,
		.user_trial = HOST_TRIAL_WORKED,
		.dirty_trial = HOST_TRIAL_WORKED,
		.kernel_trial = HOST_TRIAL_WORKED,
		.counter = HOST_COUNTER_WORKS,
		.counter_unit = "branches",
		.counter_error = 3,
		.counter_skid = 120,
		.cpus = 8,
		.memory_lock = UINT64_MAX,
		.seccomp = true,
		.sealed_memory = true,
	};

	for (size_t i = 0; i < HOST_CAPABILITIES; i++)
		facts.capability[i] = 1;
	facts.capability[HOST_CAP_SYNC_REGS] = KVM_SYNC_X86_VALID_FIELDS;
	return facts;
}

static struct host_probe judged(struct host_facts facts)
{
	struct host_probe probe;

	host_probe_judge(&probe, &facts);
	return probe;
}

static const struct host_feature *feature_of(const struct host_probe *probe, const char *name)
{
	for (size_t i = 0; i < probe->count; i++)
		if (strcmp(probe->features[i].name, name) == 0)
			return &probe->features[i];
	ck_abort_msg("there is no feature %s", name);
	return NULL;
}

static void expect(struct host_facts facts, bool payload, bool linux_guests)
{
	struct host_probe probe = judged(facts);

	ck_assert_int_eq(host_probe_payload_ok(&probe), payload);
	ck_assert_int_eq(host_probe_linux_ok(&probe), linux_guests);
	ck_assert_int_eq(!host_probe_obstacle(&probe, false), payload);
	/* Whatever is not present comes with something to do about it; what is present, without. */
	for (size_t i = 0; i < probe.count; i++) {
		const struct host_feature *feature = &probe.features[i];

		ck_assert_int_eq(feature->state == HOST_PRESENT, feature->remedy == NULL);
		ck_assert_ptr_nonnull(feature->name);
		ck_assert_ptr_nonnull(feature->purpose);
	}
}

START_TEST(everything_there)
{
	struct host_probe probe = judged(good_facts());

	expect(good_facts(), true, true);
	for (size_t i = 0; i < probe.count; i++)
		ck_assert_int_eq(probe.features[i].state, HOST_PRESENT);
	ck_assert_ptr_null(host_probe_obstacle(&probe, true));
	ck_assert_str_eq(feature_of(&probe, "guest-only counters")->detail, "branches, 3 off, 120 late");
}
END_TEST

START_TEST(one_capability_missing)
{
	static const bool optional[HOST_CAPABILITIES] = {
		[HOST_CAP_READONLY_MEM] = true,
		[HOST_CAP_MANUAL_DIRTY_LOG_PROTECT2] = true,
		[HOST_CAP_DIRTY_LOG_RING] = true,
	};
	struct host_facts facts = good_facts();

	facts.capability[_i] = 0;
	expect(facts, optional[_i] || _i == HOST_CAP_NESTED_STATE, optional[_i]);
	struct host_probe probe = judged(facts);
	size_t missing = 0;

	for (size_t i = 0; i < probe.count; i++)
		missing += probe.features[i].state == HOST_MISSING;
	ck_assert_uint_eq(missing, 1);
}
END_TEST

START_TEST(registers_without_events)
{
	struct host_facts facts = good_facts();

	facts.capability[HOST_CAP_SYNC_REGS] = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	expect(facts, false, false);
	struct host_probe probe = judged(facts);

	ck_assert_str_eq(host_probe_obstacle(&probe, false)->name, "KVM_CAP_SYNC_REGS");
	ck_assert_str_eq(host_probe_obstacle(&probe, false)->detail, "3, not 7");
	/* More bits than are needed do no harm. */
	facts.capability[HOST_CAP_SYNC_REGS] = 15;
	expect(facts, true, true);
}
END_TEST

START_TEST(nested_switched_off)
{
	struct host_facts facts = good_facts();

	facts.kvm_amd = HOST_MODULE_NOT_NESTED;
	facts.svm_offered = false;
	expect(facts, true, false);
	struct host_probe probe = judged(facts);

	ck_assert_ptr_nonnull(strstr(host_probe_obstacle(&probe, true)->remedy, "kvm_amd nested=1"));
}
END_TEST

START_TEST(intel)
{
	struct host_facts facts = good_facts();

	memcpy(facts.vendor, "GenuineIntel", sizeof(facts.vendor));
	facts.cpu_svm = facts.svm_offered = false;
	facts.cpu_vmx = true;
	facts.kvm_amd = HOST_MODULE_ABSENT;
	facts.kvm_intel = HOST_MODULE_NESTED;
	expect(facts, true, false);
	struct host_probe probe = judged(facts);

	ck_assert_str_eq(host_probe_obstacle(&probe, true)->name, "nested SVM");
	ck_assert_ptr_nonnull(strstr(host_probe_obstacle(&probe, true)->remedy, "Intel"));
	ck_assert_str_eq(host_probe_obstacle(&probe, true)->detail, "GenuineIntel: VMX, kvm_intel");
}
END_TEST

/* KVM without SVM or VMX, as on some virtual machines: ring 0 is interpreted. */
START_TEST(interpreted_kernel)
{
	struct host_facts facts = good_facts();

	facts.cpu_svm = facts.svm_offered = false;
	facts.kvm_amd = HOST_MODULE_ABSENT;
	facts.kernel_trial = HOST_TRIAL_FAILED;
	facts.capability[HOST_CAP_NESTED_STATE] = 0;
	expect(facts, true, false);
	struct host_probe probe = judged(facts);

	ck_assert_int_eq(feature_of(&probe, "ring 0 in hardware")->state, HOST_MISSING);
	ck_assert_int_eq(feature_of(&probe, "ring 3 in hardware")->state, HOST_PRESENT);
	ck_assert_ptr_nonnull(strstr(host_probe_obstacle(&probe, true)->remedy, "make demo"));
}
END_TEST

START_TEST(trials_that_fail)
{
	struct host_facts facts = good_facts();

	facts.user_trial = HOST_TRIAL_FAILED;
	facts.dirty_trial = HOST_TRIAL_NOT_RUN;
	expect(facts, false, false);
	struct host_probe probe = judged(facts);

	ck_assert_int_eq(feature_of(&probe, "dirty page log")->state, HOST_UNKNOWN);
	facts = good_facts();
	facts.dirty_trial = HOST_TRIAL_FAILED;
	expect(facts, false, false);
	facts = good_facts();
	facts.sealed_memory = false;
	expect(facts, false, false);
}
END_TEST

static struct host_facts facts_without_kvm(enum host_kvm kvm)
{
	struct host_facts facts = good_facts();

	facts.kvm = kvm;
	facts.api_version = 0;
	facts.svm_offered = false;
	facts.user_trial = facts.dirty_trial = facts.kernel_trial = HOST_TRIAL_NOT_RUN;
	memset(facts.capability, 0, sizeof(facts.capability));
	return facts;
}

static const char *remedy_without_kvm(struct host_facts facts)
{
	static struct host_probe probe;

	expect(facts, false, false);
	host_probe_judge(&probe, &facts);
	ck_assert_str_eq(host_probe_obstacle(&probe, false)->name, "/dev/kvm");
	/* Nothing that KVM was never asked for is called missing. */
	ck_assert_int_eq(feature_of(&probe, "KVM_CAP_SYNC_REGS")->state, HOST_UNKNOWN);
	ck_assert_int_eq(feature_of(&probe, "nested SVM")->state, HOST_UNKNOWN);
	return host_probe_obstacle(&probe, false)->remedy;
}

START_TEST(no_kvm)
{
	struct host_facts facts = facts_without_kvm(HOST_KVM_NO_PERMISSION);

	ck_assert_ptr_nonnull(strstr(remedy_without_kvm(facts), "group"));

	facts = facts_without_kvm(HOST_KVM_BROKEN);
	facts.kvm_error = ENODEV;
	ck_assert_ptr_nonnull(strstr(remedy_without_kvm(facts), "dmesg"));
	struct host_probe probe = judged(facts);

	ck_assert_str_eq(feature_of(&probe, "/dev/kvm")->detail, strerror(ENODEV));

	facts = facts_without_kvm(HOST_KVM_ABSENT);
	ck_assert_ptr_nonnull(strstr(remedy_without_kvm(facts), "container"));
	facts.kvm_amd = HOST_MODULE_ABSENT;
	ck_assert_ptr_nonnull(strstr(remedy_without_kvm(facts), "modprobe kvm_amd"));
	facts.cpu_svm = false;
	ck_assert_ptr_nonnull(strstr(remedy_without_kvm(facts), "firmware"));
	facts.cpu_vmx = true;
	ck_assert_ptr_nonnull(strstr(remedy_without_kvm(facts), "modprobe kvm_intel"));
}
END_TEST

START_TEST(other_interface)
{
	struct host_facts facts = facts_without_kvm(HOST_KVM_OPEN);

	facts.api_version = 11;
	expect(facts, false, false);
	struct host_probe probe = judged(facts);

	ck_assert_str_eq(host_probe_obstacle(&probe, false)->name, "KVM interface 12");
	ck_assert_str_eq(host_probe_obstacle(&probe, false)->detail, "version 11");
}
END_TEST

/* What only makes things faster decides nothing. */
START_TEST(optional_features)
{
	struct host_facts facts = good_facts();

	facts.counter = HOST_COUNTER_DENIED;
	facts.cpus = 1;
	facts.memory_lock = 0;
	facts.seccomp = false;
	expect(facts, true, true);
	struct host_probe probe = judged(facts);

	ck_assert_int_eq(feature_of(&probe, "guest-only counters")->state, HOST_MISSING);
	ck_assert_ptr_nonnull(strstr(feature_of(&probe, "guest-only counters")->remedy, "perf_event_paranoid"));
	ck_assert_int_eq(feature_of(&probe, "3 CPUs or more")->state, HOST_MISSING);
	ck_assert_int_eq(feature_of(&probe, "seccomp filters")->state, HOST_MISSING);
	facts.counter = HOST_COUNTER_UNFIT;
	expect(facts, true, true);
	facts.counter = HOST_COUNTER_ABSENT;
	expect(facts, true, true);
	facts.counter = HOST_COUNTER_UNKNOWN;
	expect(facts, true, true);
}
END_TEST

/* Facts of nothing at all, as from a host where nothing could be found out. */
START_TEST(no_facts)
{
	expect((struct host_facts){ .kvm = HOST_KVM_ABSENT }, false, false);
}
END_TEST

START_TEST(this_host)
{
	struct host_facts facts;

	host_facts_gather(&facts);
	ck_assert_uint_gt(facts.cpus, 0);
	ck_assert_uint_eq(strlen(facts.vendor), 12);
	if (facts.kvm != HOST_KVM_OPEN)
		ck_assert_int_ne(facts.kvm_error, 0);
	else
		ck_assert_int_eq(facts.api_version, KVM_API_VERSION);
	struct host_probe probe = judged(facts);

	ck_assert_uint_gt(probe.count, HOST_CAPABILITIES);
	ck_assert_uint_le(probe.count, HOST_FEATURES_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host_probe");
	TCase *tests = tcase_create("verdicts");
	SRunner *runner = srunner_create(suite);

	tcase_add_test(tests, everything_there);
	tcase_add_loop_test(tests, one_capability_missing, 0, HOST_CAPABILITIES);
	tcase_add_test(tests, registers_without_events);
	tcase_add_test(tests, nested_switched_off);
	tcase_add_test(tests, intel);
	tcase_add_test(tests, interpreted_kernel);
	tcase_add_test(tests, trials_that_fail);
	tcase_add_test(tests, no_kvm);
	tcase_add_test(tests, other_interface);
	tcase_add_test(tests, optional_features);
	tcase_add_test(tests, no_facts);
	tcase_add_test(tests, this_host);
	tcase_set_timeout(tests, 20);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_NORMAL);
	int failures = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
