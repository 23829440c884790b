#include "vmm/host_facts.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/result.h"
#include "vmm/host_trial.h"
#include "vmm/progress.h"

static const int capability_numbers[HOST_CAPABILITIES] = {
	[HOST_CAP_USER_MEMORY] = KVM_CAP_USER_MEMORY,
	[HOST_CAP_SYNC_REGS] = KVM_CAP_SYNC_REGS,
	[HOST_CAP_IMMEDIATE_EXIT] = KVM_CAP_IMMEDIATE_EXIT,
	[HOST_CAP_X86_USER_SPACE_MSR] = KVM_CAP_X86_USER_SPACE_MSR,
	[HOST_CAP_X86_MSR_FILTER] = KVM_CAP_X86_MSR_FILTER,
	[HOST_CAP_VCPU_EVENTS] = KVM_CAP_VCPU_EVENTS,
	[HOST_CAP_DEBUGREGS] = KVM_CAP_DEBUGREGS,
	[HOST_CAP_XSAVE] = KVM_CAP_XSAVE,
	[HOST_CAP_NESTED_STATE] = KVM_CAP_NESTED_STATE,
	[HOST_CAP_READONLY_MEM] = KVM_CAP_READONLY_MEM,
	[HOST_CAP_MANUAL_DIRTY_LOG_PROTECT2] = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	[HOST_CAP_DIRTY_LOG_RING] = KVM_CAP_DIRTY_LOG_RING,
};

static int open_kvm(struct host_facts *facts)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		facts->kvm = HOST_KVM_OPEN;
	else if (errno == ENOENT)
		facts->kvm = HOST_KVM_ABSENT;
	else if (errno == EACCES || errno == EPERM)
		facts->kvm = HOST_KVM_NO_PERMISSION;
	else
		facts->kvm = HOST_KVM_BROKEN;
	facts->kvm_error = fd < 0 ? errno : 0;
	return fd;
}

static bool kvm_offers_svm(int kvm_fd)
{
	enum { ENTRIES = 256 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + ENTRIES * sizeof(struct kvm_cpuid_entry2));
	bool offered = false;

	if (!cpuid)
		return false;
	cpuid->nent = ENTRIES;
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) == 0)
		for (uint32_t i = 0; i < cpuid->nent && i < ENTRIES; i++)
			if (cpuid->entries[i].function == 0x80000001 && cpuid->entries[i].ecx & 1u << 2)
				offered = true;
	free(cpuid);
	return offered;
}

static enum host_trial trial_state(bool worked)
{
	return worked ? HOST_TRIAL_WORKED : HOST_TRIAL_FAILED;
}

static void ask_kvm(struct host_facts *facts, int kvm_fd)
{
	facts->api_version = ioctl(kvm_fd, KVM_GET_API_VERSION, 0);
	if (facts->api_version != KVM_API_VERSION)
		return; /* nothing else that it says could be trusted */
	for (size_t i = 0; i < ARRAY_SIZE(capability_numbers); i++) {
		int value = ioctl(kvm_fd, KVM_CHECK_EXTENSION, capability_numbers[i]);

		facts->capability[i] = value > 0 ? value : 0;
	}
	facts->svm_offered = kvm_offers_svm(kvm_fd);

	struct host_trial_outcome user = host_trial_run(kvm_fd, false);
	struct host_trial_outcome kernel = host_trial_run(kvm_fd, true);

	facts->user_trial = trial_state(user.ran);
	facts->dirty_trial = user.ran ? trial_state(user.dirty) : HOST_TRIAL_NOT_RUN;
	facts->kernel_trial = trial_state(kernel.ran);
}

static void ask_cpu(struct host_facts *facts)
{
	unsigned a, b, c, d;

	if (__get_cpuid(0, &a, &b, &c, &d)) {
		memcpy(facts->vendor, &b, 4);
		memcpy(facts->vendor + 4, &d, 4);
		memcpy(facts->vendor + 8, &c, 4);
	}
	if (__get_cpuid(1, &a, &b, &c, &d))
		facts->cpu_vmx = c & 1u << 5;
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		facts->cpu_svm = c & 1u << 2;
}

static enum host_module module_state(const char *folder, const char *parameter)
{
	char text[2] = { 0 };
	int fd = open(parameter, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return access(folder, F_OK) == 0 ? HOST_MODULE_NOT_NESTED : HOST_MODULE_ABSENT;
	ssize_t length = read(fd, text, 1);

	fd_close(&fd);
	/* kvm_amd writes its integer, kvm_intel its boolean. */
	return length == 1 && (text[0] == '1' || text[0] == 'Y') ? HOST_MODULE_NESTED : HOST_MODULE_NOT_NESTED;
}

static enum host_counter counter_state(const struct progress *progress)
{
	if (progress->unit != PROGRESS_TIME)
		return HOST_COUNTER_WORKS;
	switch (progress->open_error) {
	case 0:
		return HOST_COUNTER_UNFIT;
	case EACCES:
	case EPERM:
		return HOST_COUNTER_DENIED;
	case ENOENT:
	case ENODEV:
	case EOPNOTSUPP:
	case ENOSYS:
	case EINVAL:
		return HOST_COUNTER_ABSENT;
	default:
		return HOST_COUNTER_UNKNOWN;
	}
}

/* As a replica does it whose guest has a kernel. */
static void ask_counter(struct host_facts *facts)
{
	struct progress progress;

	progress_create(&progress, SIGUSR1, true);
	facts->counter = counter_state(&progress);
	facts->counter_unit = progress_unit_name(progress.unit);
	facts->counter_error = progress.quality.error;
	facts->counter_skid = progress.quality.skid;
	memcpy(facts->counter_reason, progress.reason, sizeof(facts->counter_reason));
	progress_destroy(&progress);
}

static void ask_kernel(struct host_facts *facts)
{
	cpu_set_t cpus;
	const uint32_t trap = SECCOMP_RET_TRAP;
	struct rlimit limit;
	int fd = -1;

	facts->kvm_amd = module_state("/sys/module/kvm_amd", "/sys/module/kvm_amd/parameters/nested");
	facts->kvm_intel = module_state("/sys/module/kvm_intel", "/sys/module/kvm_intel/parameters/nested");
	ask_counter(facts);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		facts->cpus = (unsigned)CPU_COUNT(&cpus);
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0)
		facts->memory_lock = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
	facts->seccomp = syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &trap) == 0;
	facts->sealed_memory = !failed(fd_sealed_memory(&fd, "tercet-probe", 4096));
	fd_close(&fd);
}

void host_facts_gather(struct host_facts *facts)
{
	*facts = (struct host_facts){ .kvm = HOST_KVM_ABSENT };
	ask_cpu(facts);
	ask_kernel(facts);
	int kvm_fd = open_kvm(facts);

	if (kvm_fd >= 0)
		ask_kvm(facts, kvm_fd);
	fd_close(&kvm_fd);
}
