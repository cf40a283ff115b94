/* A driver for test/check/cluster.sh: workers print, answer with their process ids, and one of them dies. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <manta/manta.h>

MANTA_TASK(say, int64_t, (int64_t, n))
{
    printf("task %d\n", (int)n);
    fflush(stdout);
    return (int64_t)getpid();
}
MANTA_TASK(die, int64_t)
{
    fprintf(stderr, "about to die\n");
    abort();
    return 0;
}

/* Dies the first time, which a file remembers. */
MANTA_TASK(die_once, int64_t, (manta_str, path))
{
    char name[512];
    snprintf(name, sizeof name, "%.*s", (int)path.size, path.data);
    FILE *f = fopen(name, "wx");
    if (f) abort();
    return 5;
}

MANTA_ACTOR(Where, int unused;)
MANTA_METHOD(Where, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_CLASS(Where, pid)

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    int elsewhere = 0;
    manta_int64_t_future f[12];
    for (int i = 0; i < 12; i++) f[i] = say_submit(i);
    for (int i = 0; i < 12; i++) elsewhere += manta_await(f[i]) != (int64_t)getpid();
    printf("%d of 12 tasks ran elsewhere\n", elsewhere);
    Where_ref w = Where_spawn();
    printf("the actor lives %s\n", manta_await(Where_pid(w)) == (int64_t)getpid() ? "here" : "elsewhere");
    if (argc > 1 && strcmp(argv[1], "die") == 0) {
        int64_t value;
        manta_status status = manta_get(die_submit_with(MANTA_OPTIONS(.max_retries = MANTA_RETRIES_NONE)), &value);
        printf("the task that died: %s\n", manta_status_name(status));
        if (argc > 2) printf("died once: %d\n", (int)manta_await(die_once_submit(manta_str_of(argv[2]))));
        printf("and then: %d\n", (int)(manta_await(say_submit(99)) > 0));
    }
    fflush(stdout);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
