/*
 * Keys: CURVE on tcp connections. A server lets in whom its list of public keys names; ZeroMQ asks by its authentication protocol (RFC 27, ZAP 1.0) on an inproc socket.
 */
#include <string.h>

#include "mailbox/link/link_zmq.h"

enum { ZAP_PARTS = 7, KEY_BYTES = 32 };

manta_status link_keygen(char public_key[41], char secret_key[41])
{
    return zmq_curve_keypair(public_key, secret_key) ? link_fail(MANTA_EUNSUPPORTED, "this ZeroMQ has no CURVE") : MANTA_OK;
}

bool curve_set(link_zmq *z, void *socket, bool is_server)
{
    int on = 1;
    if (!z->secret_key[0]) return true;
    if (is_server)
        return !zmq_setsockopt(socket, ZMQ_CURVE_SERVER, &on, sizeof on) && !zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, z->secret_key, 40);
    return !zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, z->public_key, 40) &&
           !zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, z->public_key, 40) &&
           !zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, z->secret_key, 40);
}

bool curve_start(link_zmq *z)
{
    if (!z->secret_key[0]) return true;
    z->zap = zmq_socket(z->zmq, ZMQ_REP);
    int linger = 0;
    return z->zap && !zmq_setsockopt(z->zap, ZMQ_LINGER, &linger, sizeof linger) && zmq_bind(z->zap, "inproc://zeromq.zap.01") == 0;
}

static bool is_allowed(const link_zmq *z, const unsigned char key[KEY_BYTES])
{
    char text[41];
    if (!zmq_z85_encode(text, key, KEY_BYTES)) return false;
    if (!z->n_allowed) return strcmp(text, z->public_key) == 0;
    for (int i = 0; i < z->n_allowed; i++)
        if (strcmp(text, z->allowed[i]) == 0) return true;
    return false;
}

static void reply(link_zmq *z, const char *request, size_t request_bytes, bool ok)
{
    const char *code = ok ? "200" : "400", *text = ok ? "OK" : "this key is not allowed";
    zmq_send(z->zap, "1.0", 3, ZMQ_SNDMORE);
    zmq_send(z->zap, request, request_bytes, ZMQ_SNDMORE);
    zmq_send(z->zap, code, 3, ZMQ_SNDMORE);
    zmq_send(z->zap, text, strlen(text), ZMQ_SNDMORE);
    zmq_send(z->zap, "", 0, ZMQ_SNDMORE);
    zmq_send(z->zap, "", 0, 0);
}

/* version, request id, domain, address, identity, mechanism, credentials */
void curve_answer(links *l)
{
    link_zmq *z = zmq_of(l);
    char part[ZAP_PARTS][256];
    int bytes[ZAP_PARTS] = {0}, n = 0, more = 1;
    size_t size = sizeof more;
    while (more && n < 64) {
        char rest[256];
        int got = zmq_recv(z->zap, n < ZAP_PARTS ? part[n] : rest, sizeof part[0], ZMQ_DONTWAIT);
        if (got < 0) return;
        if (n < ZAP_PARTS) bytes[n] = got;
        n++;
        zmq_getsockopt(z->zap, ZMQ_RCVMORE, &more, &size);
    }
    bool ok = n == ZAP_PARTS && bytes[5] == 5 && memcmp(part[5], "CURVE", 5) == 0 && bytes[6] == KEY_BYTES && bytes[1] <= 256;
    ok = ok && is_allowed(z, (const unsigned char *)part[6]);
    reply(z, part[1], bytes[1] > 256 ? 256 : (size_t)bytes[1], ok);
    if (!ok) count_up(&l->counts.refused, 1);
}
