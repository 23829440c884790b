/*
 * Code that computes and asks the kernel for nothing, in a Linux guest: what only a timer's interrupt can end.
 *
 *   compute for SECONDS    computes for about so long without a system call, then compares the time that the kernel
 *                          booked for it with the clock on the wall: "compute: wall W user U system S" (seconds)
 *   compute share SECONDS  two processes that compute, and how far each has come when their parent wakes after so
 *                          long: "share: A B slept W"
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The clock goes on while a guest is stopped, so what is too short to be stopped often tells little of what is not. */
enum { JOBS = 2, CALIBRATION_PART = 4, SECONDS_MAX = 3600 };

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds_of(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* Volatile, so that the work is done. */
static volatile uint64_t sink;

static void work(uint64_t rounds)
{
	uint64_t state = 88172645463325252u;

	for (uint64_t i = 0; i < rounds; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
	}
	sink = state;
}

static int compute_for(double seconds)
{
	uint64_t rounds = 1 << 16;
	double took = 0;
	struct rusage before, after;

	while (took < seconds / CALIBRATION_PART) {
		double begin = now();

		rounds *= 2;
		work(rounds);
		took = now() - begin;
	}
	rounds = (uint64_t)((double)rounds * seconds / took);
	(void)getrusage(RUSAGE_SELF, &before);

	double begin = now();

	work(rounds);

	double wall = now() - begin;

	(void)getrusage(RUSAGE_SELF, &after);
	printf("compute: wall %.3f user %.3f system %.3f\n", wall,
	       seconds_of(after.ru_utime) - seconds_of(before.ru_utime),
	       seconds_of(after.ru_stime) - seconds_of(before.ru_stime));
	return 0;
}

static int share_for(double seconds)
{
	volatile uint64_t *counts = mmap(NULL, JOBS * sizeof(*counts), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct timespec pause = { .tv_sec = (time_t)seconds };
	pid_t jobs[JOBS];

	if (counts == MAP_FAILED) {
		perror("compute: memory");
		return 1;
	}
	for (int i = 0; i < JOBS; i++) {
		jobs[i] = fork();
		if (jobs[i] < 0) {
			perror("compute: fork");
			return 1;
		}
		while (jobs[i] == 0) {
			work(1 << 16);
			counts[i]++;
		}
	}

	double begin = now();

	while (nanosleep(&pause, &pause) < 0 && errno == EINTR) {
	}
	printf("share: %llu %llu slept %.3f\n", (unsigned long long)counts[0], (unsigned long long)counts[1],
	       now() - begin);
	for (int i = 0; i < JOBS; i++) {
		(void)kill(jobs[i], SIGKILL);
		(void)waitpid(jobs[i], NULL, 0);
	}
	return 0;
}

int main(int argc, char **argv)
{
	double seconds = argc == 3 ? strtod(argv[2], NULL) : 0;

	if (seconds >= 1 && seconds <= SECONDS_MAX && strcmp(argv[1], "for") == 0)
		return compute_for(seconds);
	if (seconds >= 1 && seconds <= SECONDS_MAX && strcmp(argv[1], "share") == 0)
		return share_for(seconds);
	(void)fprintf(stderr, "usage: compute for|share SECONDS\n");
	return 2;
}
