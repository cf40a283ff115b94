// EXPECT: unknown type name .Frobnicator.
/* A field of a type that was never declared is refused by name. */
#include <manta/manta.h>

MANTA_ACTOR(Server, int connections;)
#ifdef CASE
MANTA_METHOD(Server, serve, void, (Frobnicator, client)) { self->connections++; }
#else
MANTA_METHOD(Server, serve, void, (int32_t, client)) { self->connections++; }
#endif
MANTA_CLASS(Server, serve)
