// EXPECT: invalid initializer|initializing 'manta_double_future'.*with an expression of incompatible type
/* The future of one result type is no future of another. */
#include <manta/manta.h>

MANTA_TASK(square, int64_t, (int64_t, x)) { return x * x; }

void try_it(void);
void try_it(void)
{
#ifdef CASE
    manta_double_future f = square_submit(2);
#else
    manta_int64_t_future f = square_submit(2);
#endif
    (void)f;
}
