#include "lockstep/tombstone.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/futex.h"

/* A word that is not written yet, or that a flipped bit has changed, wakes nobody: then a watch looks by itself. */
#define LOOK_NS (100 * NS_PER_MS)

result tombstone_erect(_Atomic uint32_t *word)
{
	/* The kernel reads these when the thread dies. */
	static struct robust_list_head head;
	static struct robust_list node;

	node.next = &head.list;
	head.list.next = &node;
	head.list_op_pending = NULL;
	/* The kernel adds it to the node's address, wherever the word is. */
	head.futex_offset = (long)((intptr_t)word - (intptr_t)&node);
	/* Only a word that names its owner's thread is marked; somebody is woken if somebody is said to wait. */
	atomic_store(word, (uint32_t)gettid() | FUTEX_WAITERS);
	if (syscall(SYS_set_robust_list, &head, sizeof(head)) < 0)
		return fail_errno(STATUS_HOST, errno, "the host keeps no list of robust futexes");
	futex_wake(word);
	return OK;
}

bool tombstone_tells(const _Atomic uint32_t *word)
{
	return (atomic_load(word) & FUTEX_OWNER_DIED) != 0;
}

void tombstone_wait(const _Atomic uint32_t *word, uint64_t timeout_ns)
{
	uint32_t value = atomic_load(word);

	if (!(value & FUTEX_OWNER_DIED))
		futex_wait(word, value, timeout_ns);
}

static void *wait_and_ring(void *context)
{
	struct tombstone_watch *watch = context;

	while (!atomic_load(&watch->ends) && !tombstone_tells(watch->word))
		tombstone_wait(watch->word, LOOK_NS);
	fd_ring(watch->bell_fd);
	return NULL;
}

result tombstone_watch(struct tombstone_watch *watch, const _Atomic uint32_t *word, int bell_fd)
{
	int error;

	watch->word = word;
	watch->bell_fd = bell_fd;
	atomic_store(&watch->ends, false);
	error = pthread_create(&watch->thread, NULL, wait_and_ring, watch);
	if (error != 0)
		return fail_errno(STATUS_FAILED, error, "cannot start a thread that waits for a replica's death");
	watch->started = true;
	return OK;
}

void tombstone_unwatch(struct tombstone_watch *watch)
{
	if (!watch->started)
		return;
	atomic_store(&watch->ends, true);
	futex_wake(watch->word);
	(void)pthread_join(watch->thread, NULL);
	watch->started = false;
}
