// EXPECT: the type of the variable is not the type of the generator
/* manta_next into a variable of another type than the generator's is refused. */
#include <manta/manta.h>

MANTA_GENERATOR(count_to, int64_t, (int64_t, n))
{
    for (int64_t i = 0; i < n; i++)
        if (manta_yield(int64_t, i)) return;
}

manta_status try_it(void);
manta_status try_it(void)
{
#ifdef CASE
    double value;
#else
    int64_t value;
#endif
    return manta_next(count_to_start(3), &value);
}
