/*
 * `tercet status` and `tercet list`: how running machines are doing.
 */
#ifndef TERCET_MANAGE_CLIENT_STATUS_H
#define TERCET_MANAGE_CLIENT_STATUS_H

/* `tercet status`; argv[0] is "status". Returns the exit status. */
int client_status_main(int argc, char **argv);

/* `tercet list`; argv[0] is "list". Returns the exit status. */
int client_status_list_main(int argc, char **argv);

#endif
