// EXPECT: (unknown type name|undeclared|implicit declaration|undeclared function).*Socket
/* A field of a type that cannot travel is refused, and the message names the type: the functions manta_pack_Socket and so on do not exist. */
#include <manta/manta.h>

typedef struct Socket {
    int descriptor;
} Socket;

MANTA_ACTOR(Server, int connections;)
#ifdef CASE
MANTA_METHOD(Server, serve, void, (Socket, client)) { self->connections += client.descriptor; }
#else
MANTA_METHOD(Server, serve, void, (int32_t, client)) { self->connections += client; }
#endif
MANTA_CLASS(Server, serve)
