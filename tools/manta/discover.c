/*
 * Finding a cluster on a LAN without knowing an address: daemons that were started with --discover NAME say each half second by UDP broadcast (czmq's zbeacon) where they listen; who wants to join or ask listens for that.
 *
 * A beacon is "MANTA1", the cluster's name with a 0 behind it, and the address with a 0 behind it: no secret, and none is believed: with keys the daemon there has to prove itself as always.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <czmq.h>

#include "tools/manta/manta.h"

enum { PORT = 6379, EVERY_MS = 500, WAIT_MS = 3000, BEACON_BYTES = 255, HEAD = 6 };
static const char mark[] = "MANTA1";

static zactor_t *speaker;

bool discover_name_is_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    return n && !name[n] && n <= DISCOVER_NAME;
}

/* The network that is spoken on: MANTA_DISCOVER_INTERFACE, or what czmq picks. Signals stay the program's. */
static zactor_t *beacon_new(void)
{
    const char *interface = getenv("MANTA_DISCOVER_INTERFACE");
    zsys_handler_set(NULL);
    if (interface && *interface) zsys_set_interface(interface);
    zactor_t *beacon = zactor_new(zbeacon, NULL);
    char *host = NULL;
    if (beacon && zsock_send(beacon, "si", "CONFIGURE", PORT) == 0) host = zstr_recv(beacon);
    if (!host || !*host) zactor_destroy(&beacon); /* there is no network that broadcasts */
    zstr_free(&host);
    return beacon;
}

bool discover_announce(const char *name, const char *address)
{
    char bytes[BEACON_BYTES];
    int n = snprintf(bytes, sizeof bytes, "%s%s%c%s", mark, name, 0, address) + 1;
    if (n > BEACON_BYTES || !(speaker = beacon_new())) return false;
    return zsock_send(speaker, "sbi", "PUBLISH", (byte *)bytes, (size_t)n, EVERY_MS) == 0;
}

void discover_end(void)
{
    if (speaker) zactor_destroy(&speaker);
}

/* Its address, if it is a beacon of that name, else NULL. Whatever may have come. */
static const char *address_in(const byte *bytes, size_t n, const char *name)
{
    size_t name_bytes = strlen(name) + 1;
    if (n < HEAD + name_bytes + 1 || n > BEACON_BYTES || bytes[n - 1] || memcmp(bytes, mark, HEAD) != 0) return NULL;
    if (memcmp(bytes + HEAD, name, name_bytes) != 0) return NULL;
    const char *address = (const char *)bytes + HEAD + name_bytes;
    return strlen(address) == n - HEAD - name_bytes - 1 && strncmp(address, "tcp://", 6) == 0 ? address : NULL;
}

static bool take(zactor_t *beacon, const char *name, char *out, size_t room)
{
    char *from = zstr_recv(beacon);
    zframe_t *frame = from ? zframe_recv(beacon) : NULL;
    const char *address = frame ? address_in(zframe_data(frame), zframe_size(frame), name) : NULL;
    bool is_new = address && strlen(address) < room && !*out;
    if (is_new) memcpy(out, address, strlen(address) + 1);
    zframe_destroy(&frame);
    zstr_free(&from);
    return is_new;
}

bool discover_find(const char *name, char *out, size_t room)
{
    zactor_t *beacon = beacon_new();
    *out = 0;
    if (!beacon || zsock_send(beacon, "sb", "SUBSCRIBE", (byte *)mark, (size_t)HEAD)) {
        zactor_destroy(&beacon);
        return false;
    }
    for (int64_t end = zclock_mono() + WAIT_MS, left; !*out && (left = end - zclock_mono()) > 0;) {
        zsock_set_rcvtimeo(beacon, (int)left);
        (void)take(beacon, name, out, room);
    }
    zactor_destroy(&beacon);
    return *out != 0;
}
