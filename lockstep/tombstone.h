/*
 * Tombstones: a word by which the kernel itself says that a process has died, long before the process is gone. The
 * end of a replica takes as long as giving back its guest's memory does, tens of milliseconds for each 256 MiB; a
 * pidfd and waitpid(2) tell of it afterwards. The list of robust futexes is served first (set_robust_list(2), "The
 * robust futex ABI" in the kernel's documentation): from then on nobody runs who could write to the process's memory.
 */
#ifndef TERCET_LOCKSTEP_TOMBSTONE_H
#define TERCET_LOCKSTEP_TOMBSTONE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/result.h"

/* The calling thread's own: when it dies, the word says so. The word must stay mapped; one in a process, whose thread
 * uses no other robust lock. Errors: the host cannot. */
must_check result tombstone_erect(_Atomic uint32_t *word);

/* Whether the word's owner has died. What the word says is its owner's: one that is alive may claim to be dead. */
bool tombstone_tells(const _Atomic uint32_t *word);

/* Waits until the word's owner has died, for `timeout_ns` at most; may end early. */
void tombstone_wait(const _Atomic uint32_t *word, uint64_t timeout_ns);

/* A thread that waits for a death and then rings a bell, an eventfd, once. */
struct tombstone_watch {
	pthread_t thread;
	bool started;
	const _Atomic uint32_t *word;
	int bell_fd;
	_Atomic bool ends;
};

/* Starts to wait. The watch must stay where it is, the word be mapped and the bell be open until tombstone_unwatch.
 * Errors: the host has no thread to spare. */
must_check result tombstone_watch(struct tombstone_watch *watch, const _Atomic uint32_t *word, int bell_fd);

/* Waits no more; nothing if it was never started. */
void tombstone_unwatch(struct tombstone_watch *watch);

#endif
