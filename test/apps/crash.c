/* A driver for test/check/cluster_crash.sh: workers that die in every way, while an actor elsewhere is called all the time. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <manta/manta.h>

enum { HOG_BYTES = 256 << 20 };

/* Does as it is told with its process. */
static int64_t end_by(const char *how)
{
    int *volatile nowhere = (int *)(uintptr_t)64;
    if (strcmp(how, "segv") == 0) *nowhere = 1;
    if (strcmp(how, "abort") == 0) abort();
    if (strcmp(how, "exit") == 0) exit(3);
    if (strcmp(how, "kill") == 0) (void)kill(getpid(), SIGKILL);
    if (strcmp(how, "fpe") == 0) (void)raise(SIGFPE);
    if (strcmp(how, "rest") == 0) (void)manta_sleep(1000);
    if (strcmp(how, "hog") == 0) {
        char *all = malloc(HOG_BYTES);
        if (all) memset(all, 1, HOG_BYTES);
        (void)manta_sleep(60000);
        return all ? all[HOG_BYTES / 2] : 0;
    }
    return 0;
}

static const char *text_of(manta_str s, char out[400])
{
    snprintf(out, 400, "%.*s", (int)s.size, s.data);
    return out;
}

MANTA_ACTOR(Victim, int64_t calls;)
MANTA_METHOD(Victim, fall, int64_t, (manta_str, how))
{
    char text[400];
    self->calls++;
    return end_by(text_of(how, text));
}
MANTA_METHOD(Victim, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_CLASS(Victim, fall, pid)

MANTA_ACTOR(Neighbour, int64_t calls;)
MANTA_METHOD(Neighbour, touch, int64_t) { return ++self->calls; }
MANTA_METHOD(Neighbour, pid, int64_t) { return (void)self, (int64_t)getpid(); }
MANTA_CLASS_WITH(Neighbour, (.isolated = true), touch, pid)

MANTA_TASK(fall_once, int64_t, (manta_str, how), (manta_str, path))
{
    char name[400], text[400];
    FILE *f = fopen(text_of(path, name), "wx");
    return f ? end_by(text_of(how, text)) : 7;
}
MANTA_TASK(fall, int64_t, (manta_str, how))
{
    char text[400];
    return end_by(text_of(how, text));
}

/* Calls the neighbour again and again until f is answered; prints the longest call. */
static void call_until(Neighbour_ref neighbour, manta_int64_t_future f, manta_status *out_status, char text[400])
{
    uint64_t longest = 0;
    int64_t value = 0, calls = 0;
    for (bool done = false; !done;) {
        uint64_t before = manta_now_ns();
        if (manta_get(Neighbour_touch(neighbour), &value)) printf("the neighbour failed: %s\n", manta_last_error()->message);
        uint64_t took = manta_now_ns() - before;
        if (took > longest) longest = took;
        calls++;
        *out_status = manta_get_timeout(f, &value, 1);
        done = *out_status != MANTA_ETIMEDOUT;
    }
    snprintf(text, 400, "%s", *out_status ? manta_last_error()->message : "a value");
    printf("%lld calls to the neighbour, the longest %.1f ms\n", (long long)calls, (double)longest / 1e6);
}

static void end_actor(const char *how, Neighbour_ref neighbour)
{
    char text[400];
    manta_status status;
    Victim_ref v = Victim_spawn_with(MANTA_OPTIONS(.isolated = true));
    int64_t pid = manta_await(Victim_pid(v));
    if (strcmp(how, "kill -9") == 0) {
        manta_int64_t_future f = Victim_fall(v, manta_str_of("hog"));
        (void)kill((pid_t)pid, SIGKILL);
        call_until(neighbour, f, &status, text);
    } else call_until(neighbour, Victim_fall(v, manta_str_of(how)), &status, text);
    printf("actor %s: %s: %s\n", how, manta_status_name(status), text);
    int64_t value;
    status = manta_get(Victim_pid(v), &value);
    printf("later %s: %s\n", how, status ? "fails" : "works");
}

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m || argc < 3) return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    Neighbour_ref neighbour = Neighbour_spawn();
    int64_t home = manta_await(Neighbour_pid(neighbour)), value = 0;
    Victim_ref other = Victim_spawn();
    printf("isolated: %s\n", home != (int64_t)getpid() && manta_await(Victim_pid(other)) != home ? "yes" : "no");
    manta_status rest;
    char path[400];
    printf("at rest: ");
    call_until(neighbour, Victim_fall(other, manta_str_of("rest")), &rest, path);
    for (int i = 2; i < argc; i++) {
        end_actor(argv[i], neighbour);
        if (strcmp(argv[i], "kill -9") == 0) continue;
        manta_status status = manta_get(fall_submit_with(MANTA_OPTIONS(.max_retries = MANTA_RETRIES_NONE), manta_str_of(argv[i])), &value);
        printf("task %s: %s: %s\n", argv[i], manta_status_name(status), status ? manta_last_error()->message : "a value");
        snprintf(path, sizeof path, "%s-%s", argv[1], argv[i]);
        status = manta_get(fall_once_submit_with(MANTA_OPTIONS(.max_retries = 3), manta_str_of(argv[i]), manta_str_of(path)), &value);
        printf("again %s: %d\n", argv[i], status ? -(int)status : (int)value);
    }
    printf("the neighbour: %s\n", manta_await(Neighbour_pid(neighbour)) == home ? "the same process" : "moved");
    printf("the other: %s\n", manta_get(Victim_pid(other), &value) ? "gone" : "there");
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
