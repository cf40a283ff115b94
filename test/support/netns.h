/*
 * A network of its own for a test: a bridge in a network namespace that the test's process moves to, and processes in namespaces of their own, each with one interface on the bridge: 10.77.0.1, .2, ... Needs root (or the right to
 * make namespaces) and iproute2. All of it is gone when the processes are.
 */
#ifndef MANTA_TEST_NETNS_H
#define MANTA_TEST_NETNS_H

#include <stdbool.h>
#include <sys/types.h>

#define NETNS_ADDRESS "10.77.0.%d"

bool netns_begin(void);              /* false: not allowed here, or no `ip` */
bool netns_enter(void);              /* in a child, before netns_attach and before any thread */
bool netns_attach(int n, pid_t pid); /* gives the child that has entered its interface; n: 1 to 99 */

void netns_cut(int n, bool is_cut);                    /* its cable at the bridge, both directions */
void netns_block(pid_t from, int to, bool is_blocked); /* packets of one direction vanish */
bool netns_slow(int n, int kilobits_per_s);            /* towards it; 0: as fast as it goes. False: the kernel has no tbf */

#endif
