/*
 * Commands about recordings: `tercet replay` and `tercet diff`.
 */
#ifndef TERCET_MANAGE_RECORDINGS_H
#define TERCET_MANAGE_RECORDINGS_H

/* `tercet replay FILE OPTION...` (argv[0] is "replay"). Returns the exit status. */
int recordings_replay_main(int argc, char **argv);

/* `tercet diff A B`. Returns the exit status: 0 they are the same, 1 they differ, 2 it cannot be told. */
int recordings_diff_main(int argc, char **argv);

#endif
