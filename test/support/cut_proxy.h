/*
 * A TCP proxy between one connection at a time and a target: cuts it with a reset now and then or when told, or holds everything back.
 */
#ifndef MANTA_TEST_CUT_PROXY_H
#define MANTA_TEST_CUT_PROXY_H

#include <pthread.h>
#include <stdbool.h>

typedef struct cut_proxy {
    int listener, port, target_port, cut_from_ms, cut_to_ms;
    char address[64]; /* to connect to */
    pthread_t thread;
    _Atomic int stop, cuts, cut_now, is_blocked;
} cut_proxy;

/* target: "tcp://127.0.0.1:PORT". Cuts at a random time of a connection's life between the two; 0: only by cut_now. */
bool cut_proxy_start(cut_proxy *p, const char *target, int cut_from_ms, int cut_to_ms);
void cut_proxy_stop(cut_proxy *p);

#endif
