/* A driver for test/check/named.sh: named and detached actors, in this job and in others. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <manta/manta.h>

enum { RACERS = 8, PATIENCE_MS = 20000 };

MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, add, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_METHOD(Counter, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_METHOD(Counter, quit, void)
{
    (void)self;
    manta_exit_normally();
}
MANTA_CLASS(Counter, add, pid, quit)

MANTA_ACTOR(Other, int unused;)
MANTA_METHOD(Other, nothing, void) { (void)self; }
MANTA_CLASS(Other, nothing)

/* Many at once ask for the same name: one makes the actor, the others get it. */
MANTA_TASK(race, int64_t, (int64_t, n))
{
    Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.name = "raced", .get_if_exists = true));
    int64_t pid = 0;
    if (!c.actor.id) return manta_fail(manta_last_error()->status, "racer %d: %s", (int)n, manta_last_error()->message), 0;
    manta_await(Counter_add(c, 1));
    pid = manta_await(Counter_pid(c));
    return pid;
}

/* Finds by name what the driver has spawned. */
MANTA_TASK(find, int64_t)
{
    manta_actor found;
    if (manta_lookup("here", &found)) return manta_fail(manta_last_error()->status, "%s", manta_last_error()->message), 0;
    return manta_await(Counter_add(Counter_ref_of(found), 10));
}

static void say_status(const char *what, manta_status status) { printf("%s: %s\n", what, manta_status_name(status)); }

static void names_in_one_job(void)
{
    manta_actor found;
    Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.name = "here"));
    say_status("spawn", c.actor.id ? MANTA_OK : manta_last_error()->status);
    Counter_ref again = Counter_spawn_with(MANTA_OPTIONS(.name = "here"));
    say_status("the name again", again.actor.id ? MANTA_OK : manta_last_error()->status);
    printf("found by a task: %" PRId64 "\n", manta_await(find_submit()));
    Counter_ref same = Counter_spawn_with(MANTA_OPTIONS(.name = "here", .get_if_exists = true));
    printf("got the one that exists: %" PRId64 "\n", manta_await(Counter_add(same, 1)));
    Other_ref other = Other_spawn_with(MANTA_OPTIONS(.name = "here", .get_if_exists = true));
    say_status("of another class", other.actor.id ? MANTA_OK : manta_last_error()->status);
    (void)manta_stop(c.actor);
    manta_status status = MANTA_OK;
    for (int i = 0; i < PATIENCE_MS / 10 && (status = manta_lookup("here", &found)) == MANTA_OK; i++) (void)manta_sleep(10);
    say_status("after its end", status);
}

/* Who has seen an actor end can use its name at once. */
static void names_again(void)
{
    int again = 0;
    for (int i = 0; i < 20; i++) {
        Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.name = "again", .where = MANTA_WHERE_HERE));
        again += c.actor.id && manta_stop(c.actor) == MANTA_OK && manta_wait_exit(c.actor, PATIENCE_MS, NULL) == MANTA_OK;
    }
    printf("used again %d times\n", again);
}

static void race_for_a_name(void)
{
    manta_int64_t_future f[RACERS];
    int64_t pids[RACERS];
    int same = 0;
    for (int i = 0; i < RACERS; i++) f[i] = race_submit(i);
    for (int i = 0; i < RACERS; i++) same += (pids[i] = manta_await(f[i])) == pids[0];
    manta_actor a;
    (void)manta_lookup("raced", &a);
    printf("%d of %d got the same actor, which counted %" PRId64 "\n", same, RACERS, manta_await(Counter_add(Counter_ref_of(a), 0)));
}

/* hold NAME: spawns it and says so, then waits to be told to go on, by a line of its input. */
static void hold(const char *name)
{
    Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.name = name));
    say_status("spawn", c.actor.id ? MANTA_OK : manta_last_error()->status);
    fflush(stdout);
    (void)getchar();
}

static void detach(const char *name)
{
    say_status("detached without a name",
        Counter_spawn_with(MANTA_OPTIONS(.lifetime = MANTA_LIFETIME_DETACHED)).actor.id ? MANTA_OK : manta_last_error()->status);
    Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.name = name, .lifetime = MANTA_LIFETIME_DETACHED, .resources = "slot=1"));
    say_status("detached", c.actor.id ? MANTA_OK : manta_last_error()->status);
    printf("worker %" PRId64 " counts %" PRId64 "\n", manta_await(Counter_pid(c)), manta_await(Counter_add(c, 7)));
    fflush(stdout);
    (void)getchar();
}

static void use(const char *name, bool end)
{
    manta_actor found = {0};
    manta_status status = manta_lookup(name, &found);
    say_status("lookup", status);
    if (status) return;
    printf("worker %" PRId64 " counts %" PRId64 "\n", manta_await(Counter_pid(Counter_ref_of(found))),
        manta_await(Counter_add(Counter_ref_of(found), 1)));
    if (!end) return;
    (void)manta_stop(found);
    for (int i = 0; i < PATIENCE_MS / 10 && (status = manta_lookup(name, &found)) == MANTA_OK; i++) (void)manta_sleep(10);
    say_status("after its end", status);
}

/* Its resources are free again: another one that needs the same gets them. */
static void slot(void)
{
    Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.resources = "slot=1", .timeout_ms = 20000));
    say_status("slot", c.actor.id ? MANTA_OK : manta_last_error()->status);
}

static void slot_taken(void)
{
    Counter_ref c = Counter_spawn_with(MANTA_OPTIONS(.resources = "slot=1", .timeout_ms = 300));
    say_status("slot", c.actor.id ? MANTA_OK : manta_last_error()->status);
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    const char *what = argc > 1 ? argv[1] : "", *name = argc > 2 ? argv[2] : "it";
    if (!m) return 1;
    if (strcmp(what, "names") == 0) names_in_one_job();
    else if (strcmp(what, "again") == 0) names_again();
    else if (strcmp(what, "race") == 0) race_for_a_name();
    else if (strcmp(what, "hold") == 0) hold(name);
    else if (strcmp(what, "detach") == 0) detach(name);
    else if (strcmp(what, "use") == 0) use(name, false);
    else if (strcmp(what, "end") == 0) use(name, true);
    else if (strcmp(what, "slot") == 0) slot();
    else if (strcmp(what, "taken") == 0) slot_taken();
    else if (strcmp(what, "space") == 0) printf("namespace %s\n", manta_namespace());
    fflush(stdout);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
