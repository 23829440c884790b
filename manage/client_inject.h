/*
 * `tercet inject`: has a replica of a running machine commit a fault.
 */
#ifndef TERCET_MANAGE_CLIENT_INJECT_H
#define TERCET_MANAGE_CLIENT_INJECT_H

/* argv[0] is "inject". Returns the exit status. */
int client_inject_main(int argc, char **argv);

#endif
