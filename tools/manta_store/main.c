/* manta-store: looks into an object store from outside. docs/manta-store.md shows each command. */
#include "tools/manta_store/tool.h"

int main(int argc, char **argv)
{
    static const tool_command *const commands[] = {&store_command_inspect, &store_command_verify, &store_command_watch, &store_command_put,
        &store_command_get, &store_command_destroy};
    return tool_main("manta-store", commands, sizeof commands / sizeof *commands, argc, argv);
}
