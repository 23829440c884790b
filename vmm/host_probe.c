#include "vmm/host_probe.h"

#include <linux/kvm.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/result.h"

#define REMEDY_KERNEL "use Linux 5.10 or newer"
#define REMEDY_LAB "use the lab, which emulates such a host: make demo"

/* KVM_CAP_SYNC_REGS is a set of bits, the others are numbers of which 1 is enough. */
static const struct {
	enum host_capability capability;
	int bits;
	enum host_need need;
	const char *name;
	const char *purpose;
	const char *remedy;
} capability_table[] = {
	{ HOST_CAP_USER_MEMORY, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_USER_MEMORY", "guest RAM", REMEDY_KERNEL },
	{ HOST_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS, HOST_NEED_EVERY_GUEST, "KVM_CAP_SYNC_REGS",
	  "registers with each exit", REMEDY_KERNEL },
	{ HOST_CAP_IMMEDIATE_EXIT, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_IMMEDIATE_EXIT",
	  "completing an instruction before state is compared", REMEDY_KERNEL },
	{ HOST_CAP_X86_USER_SPACE_MSR, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_X86_USER_SPACE_MSR",
	  "MSR accesses answered by tercet", REMEDY_KERNEL },
	{ HOST_CAP_X86_MSR_FILTER, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_X86_MSR_FILTER",
	  "no MSR of the host reaches a guest", REMEDY_KERNEL },
	{ HOST_CAP_VCPU_EVENTS, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_VCPU_EVENTS", "comparing and repairing vCPUs",
	  REMEDY_KERNEL },
	{ HOST_CAP_DEBUGREGS, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_DEBUGREGS", "comparing and repairing vCPUs",
	  REMEDY_KERNEL },
	{ HOST_CAP_XSAVE, 1, HOST_NEED_EVERY_GUEST, "KVM_CAP_XSAVE", "comparing and repairing FPU state",
	  REMEDY_KERNEL },
	{ HOST_CAP_NESTED_STATE, 1, HOST_NEED_LINUX_GUESTS, "KVM_CAP_NESTED_STATE",
	  "repairing a vCPU in the trap shim", "use kvm_amd of Linux 5.10 or newer" },
	{ HOST_CAP_READONLY_MEM, 1, HOST_NEED_NOBODY, "KVM_CAP_READONLY_MEM", "nothing yet: read-only firmware memory",
	  "nothing to do" },
	{ HOST_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1, HOST_NEED_NOBODY, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
	  "cheaper votes where pages are written again and again", "nothing to do" },
	{ HOST_CAP_DIRTY_LOG_RING, 1, HOST_NEED_NOBODY, "KVM_CAP_DIRTY_LOG_RING",
	  "nothing yet: cheaper votes over large RAM", "nothing to do" },
};

/* Adds a feature; `detail` is formatted into it by set_detail, if there is one. */
static struct host_feature *add(struct host_probe *probe, const char *name, const char *purpose,
				enum host_need need, enum host_state state, const char *remedy)
{
	invariant(probe->count < HOST_FEATURES_MAX);
	struct host_feature *feature = &probe->features[probe->count++];

	*feature = (struct host_feature){
		.name = name,
		.purpose = purpose,
		.need = need,
		.state = state,
		.remedy = state == HOST_PRESENT ? NULL : remedy,
	};
	return feature;
}

printf_like(2, 3) static void set_detail(struct host_feature *feature, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(feature->detail, sizeof(feature->detail), format, arguments);
	va_end(arguments);
}

static enum host_state present_if(bool present)
{
	return present ? HOST_PRESENT : HOST_MISSING;
}

static enum host_state trial_result(enum host_trial trial)
{
	switch (trial) {
	case HOST_TRIAL_WORKED:
		return HOST_PRESENT;
	case HOST_TRIAL_FAILED:
		return HOST_MISSING;
	case HOST_TRIAL_NOT_RUN:
	default:
		return HOST_UNKNOWN;
	}
}

static bool kvm_usable(const struct host_facts *facts)
{
	return facts->kvm == HOST_KVM_OPEN && facts->api_version == KVM_API_VERSION;
}

/* Why there is no /dev/kvm, in the order in which the causes exclude each other. */
static const char *absent_remedy(const struct host_facts *facts)
{
	if (!facts->cpu_svm && !facts->cpu_vmx)
		return "this CPU offers no virtualisation: turn SVM (AMD) or VT-x (Intel) on in the firmware; in a "
		       "virtual machine, let its host offer nested virtualisation";
	if (facts->cpu_svm && facts->kvm_amd == HOST_MODULE_ABSENT)
		return "load the module: modprobe kvm_amd (in a container: let it see /dev/kvm)";
	if (facts->cpu_vmx && facts->kvm_intel == HOST_MODULE_ABSENT)
		return "load the module: modprobe kvm_intel (in a container: let it see /dev/kvm)";
	return "the module is loaded: let this container or jail see /dev/kvm";
}

static void judge_device(struct host_probe *probe, const struct host_facts *facts)
{
	const char *remedy = NULL;
	const char *seen = "";

	switch (facts->kvm) {
	case HOST_KVM_ABSENT:
		seen = "there is no such device";
		remedy = absent_remedy(facts);
		break;
	case HOST_KVM_NO_PERMISSION:
		seen = "no permission";
		remedy = "add your user to the device's group (usermod -aG kvm USER) and log in again";
		break;
	case HOST_KVM_BROKEN:
		seen = strerror(facts->kvm_error);
		remedy = "see what the kernel says: dmesg | grep -i kvm";
		break;
	case HOST_KVM_OPEN:
	default:
		break;
	}
	struct host_feature *device = add(probe, "/dev/kvm", "running guests at all", HOST_NEED_EVERY_GUEST,
					  present_if(facts->kvm == HOST_KVM_OPEN), remedy);

	set_detail(device, "%s", seen);

	enum host_state version = facts->kvm != HOST_KVM_OPEN ? HOST_UNKNOWN : present_if(kvm_usable(facts));
	struct host_feature *interface = add(probe, "KVM interface 12", "speaking with KVM", HOST_NEED_EVERY_GUEST,
					     version, REMEDY_KERNEL);

	if (version == HOST_MISSING)
		set_detail(interface, "version %d", facts->api_version);
}

static void judge_capabilities(struct host_probe *probe, const struct host_facts *facts)
{
	for (size_t i = 0; i < ARRAY_SIZE(capability_table); i++) {
		int value = facts->capability[capability_table[i].capability];
		int bits = capability_table[i].bits;
		enum host_state state = HOST_UNKNOWN;

		if (kvm_usable(facts))
			state = present_if(bits == 1 ? value >= 1 : (value & bits) == bits);
		struct host_feature *feature = add(probe, capability_table[i].name, capability_table[i].purpose,
						   capability_table[i].need, state, capability_table[i].remedy);

		if (state == HOST_MISSING && value != 0)
			set_detail(feature, "%d, not %d", value, bits);
	}
}

static const char *nested_remedy(const struct host_facts *facts)
{
	if (facts->kvm_amd == HOST_MODULE_NOT_NESTED)
		return "load kvm_amd with nested virtualisation: modprobe -r kvm_amd && modprobe kvm_amd nested=1";
	if (facts->cpu_vmx)
		return "Intel hosts cannot trap RDTSC for tercet yet; " REMEDY_LAB;
	if (facts->cpu_svm)
		return "load kvm_amd: modprobe kvm_amd nested=1";
	return "needs an AMD CPU under kvm_amd; " REMEDY_LAB;
}

static void judge_processor(struct host_probe *probe, const struct host_facts *facts)
{
	const char *extension = facts->cpu_svm ? "SVM" : facts->cpu_vmx ? "VMX" : "neither SVM nor VMX";
	const char *module = facts->kvm_amd == HOST_MODULE_NESTED       ? ", kvm_amd nested=1"
			     : facts->kvm_amd == HOST_MODULE_NOT_NESTED ? ", kvm_amd nested=0"
			     : facts->kvm_intel != HOST_MODULE_ABSENT   ? ", kvm_intel"
									: "";
	struct host_feature *nested =
		add(probe, "nested SVM", "the trap shim, which makes RDTSC an input", HOST_NEED_LINUX_GUESTS,
		    kvm_usable(facts) ? present_if(facts->svm_offered) : HOST_UNKNOWN, nested_remedy(facts));

	set_detail(nested, "%s: %s%s", facts->vendor, extension, module);
	(void)add(probe, "ring 3 in hardware", "payload guests", HOST_NEED_EVERY_GUEST,
		  trial_result(facts->user_trial),
		  "a trial guest did not run: see what the kernel says: dmesg | grep -i kvm");
	(void)add(probe, "dirty page log", "hashing only what changed", HOST_NEED_EVERY_GUEST,
		  trial_result(facts->dirty_trial), REMEDY_KERNEL);
	(void)add(probe, "ring 0 in hardware", "guests with a kernel", HOST_NEED_LINUX_GUESTS,
		  trial_result(facts->kernel_trial),
		  "this KVM interprets kernel code instead of running it; " REMEDY_LAB);
}

static void judge_counter(struct host_probe *probe, const struct host_facts *facts)
{
	static const struct {
		enum host_state state;
		const char *remedy;
	} judgements[] = {
		[HOST_COUNTER_UNKNOWN] = { HOST_UNKNOWN, "none found" },
		[HOST_COUNTER_WORKS] = { HOST_PRESENT, NULL },
		[HOST_COUNTER_DENIED] = { HOST_MISSING, "allow it: sysctl kernel.perf_event_paranoid=1" },
		[HOST_COUNTER_ABSENT] = { HOST_MISSING, "none in most virtual machines; tercet works without" },
		[HOST_COUNTER_UNFIT] = { HOST_MISSING, "the counters are no good; tercet works without" },
	};
	struct host_feature *counter = add(probe, "guest-only counters", "near stops in code that never exits",
					   HOST_NEED_NOBODY, judgements[facts->counter].state,
					   judgements[facts->counter].remedy);

	if (facts->counter == HOST_COUNTER_WORKS)
		set_detail(counter, "%s, %llu off, %llu late", facts->counter_unit,
			   (unsigned long long)facts->counter_error, (unsigned long long)facts->counter_skid);
}

static void judge_kernel(struct host_probe *probe, const struct host_facts *facts)
{
	(void)add(probe, "sealed memory (memfd)", "shared pages that no process can shrink", HOST_NEED_EVERY_GUEST,
		  present_if(facts->sealed_memory), "use Linux 3.17 or newer with CONFIG_MEMFD_CREATE");
	judge_counter(probe, facts);
	(void)add(probe, "seccomp filters", "the sandbox of replicas and supervisor", HOST_NEED_NOBODY,
		  present_if(facts->seccomp),
		  "use a kernel with CONFIG_SECCOMP_FILTER, or a container that allows it; else --sandbox off");

	struct host_feature *cpus =
		add(probe, "3 CPUs or more", "replicas that run side by side", HOST_NEED_NOBODY,
		    facts->cpus == 0 ? HOST_UNKNOWN : present_if(facts->cpus >= 3),
		    "with fewer CPUs than replicas they take turns: slower, nothing else");

	set_detail(cpus, "%u", facts->cpus);

	/* Enough to lock a replica's control pages. */
	const uint64_t enough = 64 * 1024;
	struct host_feature *lock =
		add(probe, "64 KiB of locked memory", "nothing yet: control pages that are never swapped",
		    HOST_NEED_NOBODY, present_if(facts->memory_lock >= enough), "raise RLIMIT_MEMLOCK: ulimit -l 64");

	if (facts->memory_lock == UINT64_MAX)
		set_detail(lock, "no limit");
	else
		set_detail(lock, "%llu KiB", (unsigned long long)(facts->memory_lock / 1024));
}

void host_probe_judge(struct host_probe *probe, const struct host_facts *facts)
{
	*probe = (struct host_probe){ .count = 0 };
	judge_device(probe, facts);
	judge_processor(probe, facts);
	judge_capabilities(probe, facts);
	judge_kernel(probe, facts);
}

const struct host_feature *host_probe_obstacle(const struct host_probe *probe, bool linux_guests)
{
	for (size_t i = 0; i < probe->count; i++) {
		const struct host_feature *feature = &probe->features[i];
		bool needed = feature->need == HOST_NEED_EVERY_GUEST ||
			      (linux_guests && feature->need == HOST_NEED_LINUX_GUESTS);

		if (needed && feature->state != HOST_PRESENT)
			return feature;
	}
	return NULL;
}

bool host_probe_payload_ok(const struct host_probe *probe)
{
	return !host_probe_obstacle(probe, false);
}

bool host_probe_linux_ok(const struct host_probe *probe)
{
	return !host_probe_obstacle(probe, true);
}

const char *host_probe_state_name(enum host_state state)
{
	static const char *const names[] = {
		[HOST_MISSING] = "missing", [HOST_PRESENT] = "present", [HOST_UNKNOWN] = "unknown",
	};

	return names[state];
}

const char *host_probe_need_name(enum host_need need)
{
	static const char *const names[] = {
		[HOST_NEED_EVERY_GUEST] = "every guest",
		[HOST_NEED_LINUX_GUESTS] = "Linux guests",
		[HOST_NEED_NOBODY] = "optional",
	};

	return names[need];
}
