// EXPECT: incompatible type.*argument|passing 'Point'.*to parameter of incompatible type 'int64_t'
/* A struct where the method takes an int64_t is refused. */
#include <manta/manta.h>

MANTA_STRUCT(Point, (double, x), (double, y))
MANTA_ACTOR(Counter, int64_t value;)
MANTA_METHOD(Counter, increment, int64_t, (int64_t, by)) { return self->value += by; }
MANTA_CLASS(Counter, increment)

void try_it(Counter_ref c);
void try_it(Counter_ref c)
{
#ifdef CASE
    Point p = {1, 2};
    Counter_increment_send(c, p);
#else
    Counter_increment_send(c, 1);
#endif
}
