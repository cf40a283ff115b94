#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <manta/manta.h>

#include "test/support/test.h"

MANTA_ACTOR(Echo, int64_t value;)
MANTA_METHOD(Echo, echo, int64_t, (int64_t, x)) { return x; }
MANTA_METHOD(Echo, nap, void) { manta_sleep(1); }
MANTA_CLASS(Echo, echo, nap)

/* Two that send to each other until they are told to stop. */
static _Atomic int stop_game;
MANTA_ACTOR(Ping, manta_actor other;)
MANTA_ACTOR(Pong, manta_actor other;)
MANTA_METHOD_DECLARE(Ping, ball, void, (Pong_ref, from))
MANTA_METHOD_DECLARE(Pong, ball, void, (Ping_ref, from))
MANTA_METHOD_DEFINE(Ping, ball, void, (Pong_ref, from))
{
    if (!stop_game) Pong_ball_send(from, Ping_ref_of(manta_self()));
}
MANTA_METHOD_DEFINE(Pong, ball, void, (Ping_ref, from))
{
    if (!stop_game) Ping_ball_send(from, Pong_ref_of(manta_self()));
}
MANTA_CLASS(Ping, ball)
MANTA_CLASS(Pong, ball)

MANTA_ACTOR(Other, int64_t value;)
MANTA_METHOD(Other, echo, int64_t, (int64_t, x)) { return x; }
MANTA_CLASS(Other, echo)

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    struct stat s;
    char *text = fstat(fileno(file), &s) == 0 ? calloc(1, (size_t)s.st_size + 1) : NULL;
    size_t n = text ? fread(text, 1, (size_t)s.st_size, file) : 0;
    fclose(file);
    if (text) text[n] = 0;
    return text;
}

static int count_in(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)); at += strlen(what)) n++;
    return n;
}

/* Runs `calls` echo calls and one nap at a trace level and gives the dump; the file stays at path. */
static char *traced(uint32_t level, uint32_t events, int calls, const char *path)
{
    manta_t *m = manta_init_with(&(manta_config){.workers = 1, .trace = level, .trace_events = events});
    if (!m) return NULL;
    Echo_ref e = Echo_spawn();
    for (int i = 0; i < calls; i++) manta_await(Echo_echo(e, i));
    manta_await(Echo_nap(e));
    manta_stop(e.actor);
    manta_wait_exit(e.actor, 10000, NULL);
    manta_status status = manta_trace_dump(path);
    manta_shutdown(m);
    return status == MANTA_OK ? read_file(path) : NULL;
}

static const char *temporary(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/manta_trace_%d.json", (int)getpid());
    return path;
}

/* Level 0 records nothing, level 1 lifecycle and waits, level 2 every message as a span too. */
TEST(levels)
{
    char *none = traced(0, 0, 10, temporary()), *some = traced(1, 0, 10, temporary()), *all = traced(2, 0, 10, temporary());
    EXPECT(none && some && all);
    EXPECT_EQ(count_in(none, "Echo"), 0);
    EXPECT_EQ(count_in(some, "\"spawn Echo\""), 1);
    EXPECT_EQ(count_in(some, "\"exit Echo\""), 1);
    EXPECT_EQ(count_in(some, "\"suspend Echo.nap\""), 1);
    EXPECT_EQ(count_in(some, "\"resume Echo.nap\""), 1);
    EXPECT_EQ(count_in(some, "\"ph\":\"B\""), 0);
    EXPECT_EQ(count_in(all, "\"name\":\"Echo.echo\""), 10);
    EXPECT_EQ(count_in(all, "\"ph\":\"B\""), 12); /* 10 calls, and the nap before and after its wait */
    EXPECT_EQ(count_in(all, "\"ph\":\"E\""), 12);
    free(none), free(some), free(all);
    unlink(temporary());
}

/* A dump is JSON that a parser takes. (Skipped where there is no python3.) */
TEST(dump_is_json)
{
    char *text = traced(2, 0, 100, temporary()), command[160];
    EXPECT(text != NULL);
    free(text);
    if (system("command -v python3 > /dev/null") == 0) {
        snprintf(command, sizeof command, "python3 -m json.tool %s > /dev/null", temporary());
        EXPECT_EQ(system(command), 0);
    }
    unlink(temporary());
}

/* When the ring is full the oldest events go. */
TEST(ring_overwrites)
{
    char *text = traced(2, 64, 1000, temporary());
    EXPECT(text != NULL);
    int spans = count_in(text, "\"ph\":\"B\"");
    EXPECT(spans > 20 && spans < 64);
    EXPECT_EQ(count_in(text, "\"exit Echo\""), 1);
    free(text);
    unlink(temporary());
}

/* How many events of `cls` name another actor than number `index`. */
static int mixed_events(const char *text, const char *cls, uint32_t index)
{
    char name[64], whole[128];
    snprintf(name, sizeof name, "\"name\":\"%s.ball\"", cls);
    snprintf(whole, sizeof whole, "%s,\"args\":{\"actor\":\"%s#%u\"", name, cls, index);
    return count_in(text, name) - count_in(text, whole);
}

/* A dump of a busy system holds only whole events, although the ring goes round meanwhile. */
TEST(dump_while_running)
{
    manta_t *m = manta_init_with(&(manta_config){.workers = 1, .trace = 2, .trace_events = 64});
    Ping_ref ping = Ping_spawn();
    Pong_ref pong = Pong_spawn();
    stop_game = 0;
    EXPECT_EQ(Ping_ball_send(ping, pong), MANTA_OK);
    int mixed = 0, read = 0;
    for (int i = 0; i < 500; i++) {
        char *text = manta_trace_dump(temporary()) == MANTA_OK ? read_file(temporary()) : NULL;
        read += text != NULL;
        if (text) mixed += mixed_events(text, "Ping", (uint32_t)ping.actor.id) + mixed_events(text, "Pong", (uint32_t)pong.actor.id);
        free(text);
    }
    stop_game = 1;
    EXPECT_EQ(read, 500);
    EXPECT_EQ(mixed, 0);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    unlink(temporary());
}

/* The level can change while the system runs. */
TEST(level_changes)
{
    manta_t *m = manta_init_with(&(manta_config){.workers = 1});
    Echo_ref e = Echo_spawn();
    Other_ref o = Other_spawn();
    manta_await(Echo_echo(e, 1));
    manta_trace_level(2);
    manta_await(Other_echo(o, 1));
    manta_await(Other_echo(o, 1)); /* the end of the first is in the trace now */
    manta_trace_level(0);
    manta_await(Echo_echo(e, 1));
    EXPECT_EQ(manta_trace_dump(temporary()), MANTA_OK);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
    char *text = read_file(temporary());
    EXPECT(text != NULL);
    EXPECT_EQ(count_in(text, "\"Echo.echo\""), 0);
    EXPECT_EQ(count_in(text, "\"Other.echo\""), 2);
    free(text);
    unlink(temporary());
}

/* A file that cannot be written is MANTA_EIO with path and reason. */
TEST(dump_errors)
{
    manta_t *m = manta_init_with(&(manta_config){.workers = 1, .trace = 2});
    Echo_ref e = Echo_spawn();
    for (int i = 0; i < 1000; i++) manta_await(Echo_echo(e, i));
    EXPECT_EQ(manta_trace_dump("/no/such/directory/x.json"), MANTA_EIO);
    EXPECT(strstr(manta_last_error()->message, "/no/such/directory/x.json: No such file or directory"));
    EXPECT_EQ(manta_trace_dump("/dev/full"), MANTA_EIO);
    EXPECT(strstr(manta_last_error()->message, "/dev/full: No space left on device"));
    EXPECT_EQ(manta_trace_dump(NULL), MANTA_EINVAL);
    EXPECT_EQ(manta_shutdown(m), MANTA_OK);
}

static uint64_t hash_of(uint64_t seed, uint32_t level, int calls)
{
    manta_t *m = manta_init_with(&(manta_config){.seed = seed, .trace = level});
    Echo_ref e[8];
    manta_void_future naps[8];
    for (int i = 0; i < 8; i++) e[i] = Echo_spawn();
    for (int i = 0; i < 8; i++) naps[i] = Echo_nap(e[i]);
    for (int i = 0; i < calls; i++) Echo_echo_send(e[i % 8], i);
    for (int i = 0; i < 8; i++) manta_join(naps[i]);
    uint64_t hash = manta_trace_hash();
    manta_shutdown(m);
    return hash;
}

/* In deterministic mode equal seeds give equal hashes, at any level and in one process again and again; another seed or program another one. */
TEST(hash)
{
    uint64_t hash = hash_of(42, 0, 20);
    EXPECT(hash != 0);
    for (int i = 0; i < 20; i++) EXPECT(hash_of(42, (uint32_t)i % 3, 20) == hash);
    EXPECT(hash_of(43, 0, 20) != hash);
    EXPECT(hash_of(42, 0, 21) != hash);
    EXPECT(hash_of(42, 0, 20) == hash);
}
