/*
 * What this host is and can do, as plain facts: gathered here, judged in host_probe.c. The only file beside
 * kvm_vm.c and kvm_vcpu.c that speaks KVM, because it must find out what they can rely on.
 */
#ifndef TERCET_VMM_HOST_FACTS_H
#define TERCET_VMM_HOST_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far opening /dev/kvm got. */
enum host_kvm {
	HOST_KVM_ABSENT = 0,    /* there is no /dev/kvm */
	HOST_KVM_NO_PERMISSION, /* it is there, but not for this user */
	HOST_KVM_BROKEN,        /* it cannot be opened for another reason: facts.kvm_error */
	HOST_KVM_OPEN,
};

/* A kernel module with its parameter `nested`. */
enum host_module {
	HOST_MODULE_ABSENT = 0,
	HOST_MODULE_NOT_NESTED,
	HOST_MODULE_NESTED,
};

/* A tiny guest that was run. */
enum host_trial {
	HOST_TRIAL_NOT_RUN = 0,
	HOST_TRIAL_WORKED,
	HOST_TRIAL_FAILED,
};

enum host_counter {
	HOST_COUNTER_UNKNOWN = 0,
	HOST_COUNTER_WORKS,
	HOST_COUNTER_DENIED, /* kernel.perf_event_paranoid, or a container's policy */
	HOST_COUNTER_ABSENT, /* no performance monitoring unit, as in most virtual machines */
	HOST_COUNTER_UNFIT,  /* its trial went wrong */
};

/* Answers of KVM_CHECK_EXTENSION, by name of the capability (api.rst, sections 6 to 8). */
enum host_capability {
	HOST_CAP_USER_MEMORY = 0,
	HOST_CAP_SYNC_REGS,
	HOST_CAP_IMMEDIATE_EXIT,
	HOST_CAP_X86_USER_SPACE_MSR,
	HOST_CAP_X86_MSR_FILTER,
	HOST_CAP_VCPU_EVENTS,
	HOST_CAP_DEBUGREGS,
	HOST_CAP_XSAVE,
	HOST_CAP_NESTED_STATE,
	HOST_CAP_READONLY_MEM,
	HOST_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	HOST_CAP_DIRTY_LOG_RING,
	HOST_CAPABILITIES /* how many there are */
};

struct host_facts {
	enum host_kvm kvm;
	int kvm_error;   /* errno of a failed open of /dev/kvm */
	int api_version; /* KVM_GET_API_VERSION; 0 when /dev/kvm is not open */
	int capability[HOST_CAPABILITIES];

	char vendor[13]; /* of the CPU, as CPUID leaf 0 spells it */
	bool cpu_svm;    /* Fn8000_0001 ECX bit 2 (AMD64 APM vol. 3, appendix E) */
	bool cpu_vmx;    /* leaf 1 ECX bit 5 (Intel SDM vol. 2, CPUID) */
	enum host_module kvm_amd;
	enum host_module kvm_intel;
	bool svm_offered; /* KVM_GET_SUPPORTED_CPUID has SVM: guests may be hypervisors */

	enum host_trial user_trial;   /* a guest in ring 3 that writes to memory and does port output */
	enum host_trial dirty_trial;  /* whether that write was in KVM's dirty log */
	enum host_trial kernel_trial; /* POPCNT in ring 0: KVM's interpreter does not know it, a CPU does */

	enum host_counter counter; /* of what guests retire: see progress.h */
	const char *counter_unit;  /* "branches", "instructions"; "time": there is no counter */
	uint64_t counter_error;    /* what it erred by in its trial, and how late it stopped the guest; in its unit */
	uint64_t counter_skid;
	char counter_reason[160];  /* why there is none, "": there is one */
	unsigned cpus;             /* that this process may use */
	uint64_t memory_lock;      /* RLIMIT_MEMLOCK in bytes; UINT64_MAX for no limit */
	bool seccomp;              /* filters of system calls that trap */
	bool sealed_memory;        /* memfd_create with sealing of size */
};

/* Gathers all facts. Needs no rights; what cannot be found out stays zero. Takes a few milliseconds, or some
 * seconds on a host where a trial guest hangs. */
void host_facts_gather(struct host_facts *facts);

#endif
