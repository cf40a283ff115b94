/*
 * A counter for everybody: other Manta programs, and any language with ZeroMQ and MessagePack (examples/python/call_counter.py), find it by its name and call it.
 *
 *     serve [ADDRESS]       prints where it listens, and serves until its input ends
 */
#include <stdio.h>

#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)

MANTA_METHOD(Counter, add, int64_t, (int64_t, by))
{
    if (by < 0) return manta_fail(MANTA_EINVAL, "by must not be negative, got %d", (int)by), 0;
    return self->value += by;
}
MANTA_METHOD(Counter, greet, manta_str, (manta_str, name))
{
    char *text = manta_alloc(name.size + 32);
    if (!text) return manta_str_of("hello");
    snprintf(text, name.size + 32, "hello %.*s", (int)name.size, name.data);
    return manta_str_of(text);
}
MANTA_CLASS(Counter, add, greet)

int main(int argc, char **argv)
{
    const char *address = argc > 1 ? argv[1] : "tcp://127.0.0.1:0";
    manta_t *m = manta_init_with(&(manta_config){.size = sizeof(manta_config), .listen = address});
    if (!m || manta_register("counter", Counter_spawn().actor)) return 1;
    printf("%s\n", manta_listen_address(0));
    fflush(stdout);
    while (getchar() != EOF) continue;
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
