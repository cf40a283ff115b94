/* A driver for test/check/cluster.sh: actors on all workers of a job find each other in a group, and hear what each of them publishes. */
#include <stdio.h>
#include <unistd.h>

#include <manta/manta.h>

enum { ACTORS = 6, VALUES = 100 };

MANTA_ACTOR(Reporter, int64_t heard, wrong; int64_t next[ACTORS + 1];)
MANTA_STRUCT(News, (int64_t, from), (int64_t, number))
MANTA_METHOD(Reporter, hear, void, (News, n))
{
    self->wrong += n.number != self->next[n.from];
    self->next[n.from] = n.number + 1;
    self->heard++;
}
MANTA_METHOD(Reporter, start, int64_t)
{
    (void)self;
    if (manta_group_join("reporters", manta_self()) || manta_subscribe("news", Reporter_hear))
        manta_fail(MANTA_EFAILED, "%s", manta_last_error()->message);
    return (int64_t)getpid();
}
MANTA_METHOD(Reporter, members, int64_t)
{
    size_t n = 0;
    (void)self, (void)manta_group_members("reporters", NULL, 0, &n);
    return (int64_t)n;
}
MANTA_METHOD(Reporter, publish, int64_t, (int64_t, from))
{
    size_t sent = 0, least = SIZE_MAX;
    (void)self;
    for (int64_t i = 0; i < VALUES; i++) {
        (void)manta_publish("news", News, ((News){from, i}), &sent);
        if (sent < least) least = sent;
    }
    return (int64_t)least;
}
MANTA_METHOD(Reporter, heard, int64_t) { return self->heard; }
MANTA_METHOD(Reporter, wrong, int64_t) { return self->wrong; }
MANTA_CLASS(Reporter, hear, start, members, publish, heard, wrong)

/* Until the method gives `value` for all; how many it does for. */
static int until(const Reporter_ref *r, manta_int64_t_future (*method)(Reporter_ref), int64_t value)
{
    int n = 0;
    for (int tries = 0; tries < 400 && n < ACTORS; tries++) {
        n = 0;
        for (int i = 0; i < ACTORS; i++) n += manta_await(method(r[i])) == value;
        if (n < ACTORS) (void)manta_sleep(10);
    }
    return n;
}

static manta_int64_t_future members_of(Reporter_ref r) { return Reporter_members(r); }
static manta_int64_t_future heard_by(Reporter_ref r) { return Reporter_heard(r); }

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    Reporter_ref r[ACTORS];
    int64_t pids[ACTORS], processes = 0, wrong = 0;
    size_t here = 0;
    for (int i = 0; i < ACTORS; i++) {
        pids[i] = manta_await(Reporter_start(r[i] = Reporter_spawn()));
        int k = 0;
        while (pids[k] != pids[i]) k++;
        processes += k == i;
    }
    (void)manta_group_members("reporters", NULL, 0, &here);
    printf("%s processes, %zu members seen by the driver\n", processes > 1 ? "several" : "too few", here);
    printf("%d of %d see all\n", until(r, members_of, ACTORS), ACTORS);
    int64_t least = ACTORS;
    for (int i = 0; i < ACTORS; i++) {
        int64_t sent = manta_await(Reporter_publish(r[i], i));
        if (sent < least) least = sent;
    }
    size_t sent = 0;
    for (int64_t i = 0; i < VALUES; i++) (void)manta_publish("news", News, ((News){ACTORS, i}), &sent);
    printf("sent to %d and %zu\n", (int)least, sent);
    printf("%d of %d heard all\n", until(r, heard_by, (ACTORS + 1) * VALUES), ACTORS);
    for (int i = 0; i < ACTORS; i++) wrong += manta_await(Reporter_wrong(r[i]));
    printf("%d out of order\n", (int)wrong);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
