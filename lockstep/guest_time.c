#include "lockstep/guest_time.h"

#include "base/futex.h"

static uint64_t dilation_of(const struct supervisor_page *page)
{
	uint32_t dilation = atomic_load_explicit(&page->time_dilation, memory_order_relaxed);

	return dilation == 0 ? 1 : dilation;
}

/* A machine may have been switched on long before this host's clock began: recordings are. */
static uint64_t since(const struct supervisor_page *page, uint64_t host, uint64_t zero)
{
	int64_t difference = (int64_t)(host - zero);

	return difference > 0 ? (uint64_t)difference / dilation_of(page) : 0;
}

void guest_time_begin(struct supervisor_page *page, uint64_t host_ns)
{
	atomic_store(&page->host_zero, host_ns);
	if (guest_time_frozen(page))
		atomic_store(&page->frozen_at, host_ns);
}

void guest_time_dilate(struct supervisor_page *page, uint32_t dilation)
{
	atomic_store_explicit(&page->time_dilation, dilation, memory_order_relaxed);
}

void guest_time_freeze(struct supervisor_page *page)
{
	if (guest_time_frozen(page))
		return;
	atomic_store(&page->frozen_at, clock_monotonic_ns());
	/* A leader that has not seen this read its clock before now, and perhaps after then. */
	atomic_store(&page->frozen_at, clock_monotonic_ns());
}

void guest_time_thaw(struct supervisor_page *page)
{
	uint64_t frozen_at = atomic_load(&page->frozen_at);

	if (frozen_at == 0)
		return;
	/* In this order: who sees that it goes on sees from where. */
	atomic_fetch_add(&page->host_zero, clock_monotonic_ns() - frozen_at);
	atomic_store(&page->frozen_at, 0);
}

bool guest_time_frozen(const struct supervisor_page *page)
{
	return atomic_load_explicit(&page->frozen_at, memory_order_acquire) != 0;
}

uint64_t guest_time_now(const struct supervisor_page *page)
{
	/* In this order: see guest_time_freeze, and guest_time_thaw. */
	uint64_t host = clock_monotonic_ns();
	uint64_t frozen_at = atomic_load(&page->frozen_at);
	uint64_t zero = atomic_load(&page->host_zero);

	return since(page, frozen_at != 0 && frozen_at < host ? frozen_at : host, zero);
}

uint64_t guest_time_bound(const struct supervisor_page *page)
{
	uint64_t zero = atomic_load(&page->host_zero);

	return since(page, clock_monotonic_ns(), zero);
}

uint64_t guest_time_to_host(const struct supervisor_page *page, uint64_t guest_ns)
{
	uint64_t host;

	if (__builtin_mul_overflow(guest_ns, dilation_of(page), &host) ||
	    __builtin_add_overflow(host, atomic_load(&page->host_zero), &host))
		return UINT64_MAX;
	return host;
}
