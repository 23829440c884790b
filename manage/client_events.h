/*
 * `tercet events`: what happens to a running machine, as it happens.
 */
#ifndef TERCET_MANAGE_CLIENT_EVENTS_H
#define TERCET_MANAGE_CLIENT_EVENTS_H

/* argv[0] is "events". Returns the exit status. */
int client_events_main(int argc, char **argv);

#endif
