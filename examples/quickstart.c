/*
 * The first program: one actor, one task, futures.
 *
 * Counter keeps a number; Counter_increment(c, 2) sends it a message and gives a future; manta_await waits for the answer. square is a task: a function that
 * some worker thread runs. Prints 3 and then the squares of 0 to 9.
 */
#include <inttypes.h>
#include <stdio.h>

#include <manta/manta.h>

MANTA_ACTOR(Counter, int64_t value;)

MANTA_METHOD(Counter, init, void, (int64_t, start)) { self->value = start; }
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, init, increment)

MANTA_TASK(square, int64_t, (int64_t, x)) { return x * x; }

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;

    Counter_ref c = Counter_spawn(1);
    int64_t v = manta_await(Counter_increment(c, 2));
    printf("%" PRId64 "\n", v);

    manta_int64_t_future f[10];
    for (int i = 0; i < 10; i++) f[i] = square_submit(i);
    for (int i = 0; i < 10; i++) printf("%" PRId64 "\n", manta_await(f[i]));
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
