#include "lockstep/run_meter.h"

#include <time.h>

#include "base/futex.h"

uint64_t run_meter_cpu(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

void run_meter_start(struct run_meter *meter, uint64_t before)
{
	*meter = (struct run_meter){ .before = before, .cpu = run_meter_cpu() };
}

uint64_t run_meter_read(const struct run_meter *meter)
{
	return meter->before + (run_meter_cpu() - meter->cpu);
}
