/*
 * `tercet pause|resume|reset|powerdown|quit VM`: has a machine stand still, go on, begin again, or end.
 */
#ifndef TERCET_MANAGE_CLIENT_CONTROL_H
#define TERCET_MANAGE_CLIENT_CONTROL_H

/* Run the command with its arguments, the verb first; give its exit status. */
int client_control_main(int argc, char **argv);

#endif
