/*
 * Configurations: checks and encoding.
 *
 *   version u8 = 1, count u8, then each server: id u64, role u8, length of the address u8, the address without its zero
 *
 * A configuration that came through decode has no problem: the rest of the core never meets another.
 */
#include <string.h>

#include "gcs/raft/raft_bytes.h"
#include "gcs/raft/raft_types.h"

enum { VERSION = 1 };

static bool is_twice(const raft_configuration *c, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (c->servers[i].id == c->servers[at].id) return true;
    return false;
}

const char *raft_configuration_problem(const raft_configuration *c)
{
    if (c->count > RAFT_SERVERS_MAX) return "too many servers";
    for (uint32_t i = 0; i < c->count; i++) {
        const raft_server *s = &c->servers[i];
        if (!s->id) return "a server with id 0";
        if (is_twice(c, i)) return "a server is there twice";
        if (s->role != RAFT_VOTER && s->role != RAFT_LEARNER) return "an unknown role";
        if (!memchr(s->address, 0, sizeof s->address)) return "an address is too long";
    }
    return raft_configuration_voters(c) ? NULL : "no voter";
}

const raft_server *raft_configuration_find(const raft_configuration *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->count; i++)
        if (c->servers[i].id == id) return &c->servers[i];
    return NULL;
}

bool raft_configuration_is_voter(const raft_configuration *c, uint64_t id)
{
    const raft_server *s = raft_configuration_find(c, id);
    return s && s->role == RAFT_VOTER;
}

uint32_t raft_configuration_voters(const raft_configuration *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->count; i++) n += c->servers[i].role == RAFT_VOTER;
    return n;
}

uint32_t raft_configuration_encode(const raft_configuration *c, unsigned char *bytes)
{
    unsigned char *p = raft_put_number(bytes, VERSION, 1);
    p = raft_put_number(p, c->count, 1);
    for (uint32_t i = 0; i < c->count; i++) {
        const raft_server *s = &c->servers[i];
        size_t length = strlen(s->address);
        p = raft_put_number(p, s->id, 8);
        p = raft_put_number(p, s->role, 1);
        p = raft_put_number(p, length, 1);
        memcpy(p, s->address, length);
        p += length;
    }
    return (uint32_t)(p - bytes);
}

static void decode_server(raft_reader *r, raft_server *s)
{
    memset(s, 0, sizeof *s);
    s->id = raft_take_number(r, 8);
    uint64_t role = raft_take_number(r, 1);
    s->role = role == RAFT_VOTER ? RAFT_VOTER : RAFT_LEARNER;
    size_t length = (size_t)raft_take_number(r, 1);
    const unsigned char *text = raft_take(r, length);
    if (role > RAFT_VOTER || length >= sizeof s->address || (text && memchr(text, 0, length))) r->failed = true;
    else if (text) memcpy(s->address, text, length);
}

bool raft_configuration_decode(const unsigned char *bytes, uint32_t size, raft_configuration *out)
{
    raft_reader r = {.bytes = bytes, .size = size};
    if (raft_take_number(&r, 1) != VERSION) return false;
    out->count = (uint32_t)raft_take_number(&r, 1);
    if (out->count > RAFT_SERVERS_MAX) return false;
    for (uint32_t i = 0; i < out->count; i++) decode_server(&r, &out->servers[i]);
    return !r.failed && r.at == size && !raft_configuration_problem(out);
}
