/*
 * A tree of actors with a million leaves: each inner actor spawns ten children, adds up ten numbers, sends the sum to its parent and exits.
 *
 * An idle actor costs 256 bytes, so a million is nothing special. Main asks the root for the total before it is there: the root puts the question aside
 * (manta_stash) until its last child has answered. Prints the sum of 0 .. 999999; the time goes to standard error. An argument sets the number of leaves.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <manta/manta.h>

enum { FAN_OUT = 10 };

MANTA_ACTOR(Node, manta_actor parent; int64_t sum; int32_t missing;)

MANTA_METHOD(Node, result, void, (int64_t, value))
{
    self->sum += value;
    if (--self->missing > 0) return;
    if (self->parent.id == 0) {
        manta_unstash(); /* the root: whoever asked gets the answer now */
        return;
    }
    Node_result_send(Node_ref_of(self->parent), self->sum);
    manta_exit_normally();
}

MANTA_METHOD(Node, init, void, (manta_actor, parent), (int64_t, first), (int64_t, leaves))
{
    self->parent = parent;
    self->missing = FAN_OUT;
    if (leaves >= FAN_OUT) {
        for (int64_t i = 0; i < FAN_OUT; i++) Node_spawn(manta_self(), first + i * (leaves / FAN_OUT), leaves / FAN_OUT);
        return;
    }
    Node_result_send(Node_ref_of(parent), first); /* a leaf */
    manta_exit_normally();
}

MANTA_METHOD(Node, total, int64_t)
{
    if (self->missing > 0) manta_stash();
    return self->sum;
}
MANTA_CLASS(Node, init, result, total)

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    if (!m) return 1;
    int64_t leaves = argc > 1 ? atoll(argv[1]) : 1000000; /* a power of ten, at least 10 */
    if (leaves < FAN_OUT) return 1;

    uint64_t start = manta_now_ns();
    Node_ref root = Node_spawn((manta_actor){0}, 0, leaves);
    printf("%" PRId64 "\n", manta_await(Node_total(root)));
    fprintf(stderr, "%.3f s\n", (double)(manta_now_ns() - start) / 1e9);
    return manta_shutdown(m) == MANTA_OK ? 0 : 1;
}
