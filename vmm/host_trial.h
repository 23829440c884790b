/*
 * Trial guests: a few instructions run under KVM, to see what the host does rather than what it says.
 */
#ifndef TERCET_VMM_HOST_TRIAL_H
#define TERCET_VMM_HOST_TRIAL_H

#include <stdbool.h>

struct host_trial_outcome {
	bool ran;   /* the guest did its work and stopped where it should */
	bool dirty; /* KVM's dirty log has the page that the guest wrote */
};

/* Runs a guest in 64-bit mode that writes to a page, then to port 0x80: in ring 3 with port access by a plain
 * store, or in ring 0 what POPCNT gave, which needs a CPU that runs ring 0 itself. `kvm_fd` is an open /dev/kvm.
 * Takes place in a child process that is killed when it takes longer than two seconds. */
struct host_trial_outcome host_trial_run(int kvm_fd, bool kernel_mode);

#endif
