/*
 * timed FILE COMMAND [ARGUMENT]...: runs a command and writes the seconds that it took into a file. Its output and its
 * exit status are the command's.
 */
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	double begin;
	FILE *file;
	int status;
	pid_t child;

	if (argc < 3) {
		(void)fprintf(stderr, "usage: timed FILE COMMAND [ARGUMENT]...\n");
		return 2;
	}
	begin = now();
	child = fork();
	if (child == 0) {
		(void)execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror("timed");
		return 1;
	}
	begin = now() - begin;
	file = fopen(argv[1], "w");
	if (file == NULL || fprintf(file, "%.6f\n", begin) < 0 || fclose(file) != 0) {
		perror(argv[1]);
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
