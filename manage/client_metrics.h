/*
 * `tercet metrics`: how machines are doing, as OpenMetrics text.
 */
#ifndef TERCET_MANAGE_CLIENT_METRICS_H
#define TERCET_MANAGE_CLIENT_METRICS_H

/* The command; argv[0] is "metrics". Returns the exit status. */
int client_metrics_main(int argc, char **argv);

#endif
