#include "tools/manta/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/runtime/config.h"
#include "actor/runtime/config_file.h"
#include "scheduler/os/os.h"
#include "tools/manta/manta.h"

static struct {
    const char *name, *variable, *flag;
    uint64_t least, most; /* of a number; most 0: a text */
    char value[512], origin[300];
} table[NODE_SETTINGS] = {
    [NODE_HEAD] = {.name = "node_head", .variable = "MANTA_NODE_HEAD", .flag = "--address"},
    [NODE_LISTEN] = {.name = "node_listen", .variable = "MANTA_NODE_LISTEN", .flag = "--listen"},
    [NODE_DISCOVER] = {.name = "node_discover", .variable = "MANTA_NODE_DISCOVER", .flag = "--discover"},
    [NODE_CORES] = {.name = "node_cores", .variable = "MANTA_NODE_CORES", .flag = "--cores", .least = 1, .most = 1024},
    [NODE_DIRECTORY] = {.name = "node_directory", .variable = "MANTA_NODE_DIRECTORY", .flag = "--directory"},
    [NODE_CACHE] = {.name = "node_cache", .variable = "MANTA_NODE_CACHE", .flag = "--cache", .least = 1, .most = UINT64_MAX},
    [NODE_STORE_BYTES] = {.name = "node_store_bytes", .variable = "MANTA_NODE_STORE_BYTES", .flag = "--store-bytes", .most = 1ull << 46},
    [NODE_SPILL] = {.name = "node_spill", .variable = "MANTA_NODE_SPILL", .flag = "--spill"},
    [NODE_STATE] = {.name = "node_state", .variable = "MANTA_NODE_STATE", .flag = "--state"},
    [NODE_VOTERS] = {.name = "node_voters", .variable = "MANTA_NODE_VOTERS", .flag = "--voters", .least = 1, .most = 5},
    [NODE_FENCE_MS] = {.name = "node_fence_ms", .variable = "MANTA_NODE_FENCE_MS", .flag = "--fence-ms", .least = 1000, .most = 3600000},
    [NODE_RESOURCES] = {.name = "node_resources", .variable = "MANTA_NODE_RESOURCES", .flag = "--resources"},
    [NODE_LABELS] = {.name = "node_labels", .variable = "MANTA_NODE_LABELS", .flag = "--labels"},
    [NODE_IDLE_MS] = {.name = "node_idle_ms", .variable = "MANTA_NODE_IDLE_MS", .flag = "--idle-ms", .least = 1, .most = 86400000},
    [NODE_WORKER_MEMORY] = {.name = "node_worker_memory",
        .variable = "MANTA_NODE_WORKER_MEMORY",
        .flag = "--worker-memory",
        .most = 1ull << 46},
    [NODE_MEMORY_RESERVE] = {.name = "node_memory_reserve",
        .variable = "MANTA_NODE_MEMORY_RESERVE",
        .flag = "--memory-reserve",
        .most = 1ull << 46},
};

static bool preparing;
static char *prepared_file;

static void set(int i, const char *value, const char *origin)
{
    snprintf(table[i].value, sizeof table[i].value, "%s", value);
    snprintf(table[i].origin, sizeof table[i].origin, "%s", origin);
}

static bool take(const char *name, const char *value, const char *where, void *context, char *error, size_t error_bytes)
{
    (void)context;
    bool is_common = strcmp(name, "keys") == 0 || strcmp(name, "insecure") == 0;
    if (is_common && preparing) setenv(*name == 'k' ? "MANTA_KEYS" : "MANTA_INSECURE", value, 0);
    if (strncmp(name, "node_", 5) != 0) return true; /* of programs */
    for (int i = 0; i < NODE_SETTINGS; i++)
        if (strcmp(name, table[i].name) == 0) return set(i, value, where), true;
    snprintf(error, error_bytes, "%s: there is no setting \"%s\"; `manta config` lists them", where, name);
    return false;
}

bool node_settings_load(const char *file, char *error, size_t error_bytes)
{
    const char *directory = manta_directory();
    char text[400];
    snprintf(text, sizeof text, "%d", os_usable_cores());
    set(NODE_CORES, text, "");
    set(NODE_LISTEN, "tcp://127.0.0.1:0", "");
    set(NODE_VOTERS, "3", "");
    set(NODE_FENCE_MS, "10000", "");
    set(NODE_IDLE_MS, "5000", "");
    set(NODE_WORKER_MEMORY, "0", "");
    set(NODE_MEMORY_RESERVE, "0", "");
    snprintf(text, sizeof text, "%s/programs", directory ? directory : "/tmp");
    set(NODE_DIRECTORY, text, "");
    snprintf(text, sizeof text, "%llu", 4ull << 30);
    set(NODE_CACHE, text, "");
    snprintf(text, sizeof text, "%llu", (unsigned long long)node_store_bytes());
    set(NODE_STORE_BYTES, text, "");
    if (file && !config_file_read(file, take, NULL, error, error_bytes)) return false;
    for (int i = 0; i < NODE_SETTINGS; i++) {
        const char *value = getenv(table[i].variable);
        if (value && *value) set(i, value, table[i].variable);
    }
    return true;
}

bool node_settings_prepare(char *error, size_t error_bytes)
{
    static const char *const of_programs[] = {"MANTA_CONFIG", "MANTA_CLUSTER", "MANTA_LISTEN", "MANTA_JOIN", "MANTA_WORKER"};
    const char *file = getenv("MANTA_CONFIG");
    prepared_file = file && *file ? strdup(file) : NULL;
    preparing = true;
    manta_config checked; /* what programs will take is wrong here already */
    if (!node_settings_load(prepared_file, error, error_bytes) || !config_resolve(NULL, NULL, NULL, &checked, error, error_bytes))
        return false;
    for (size_t i = 0; i < sizeof of_programs / sizeof *of_programs; i++) unsetenv(of_programs[i]);
    return true;
}

const char *node_settings_file(void) { return prepared_file; }

bool node_settings_flag(const char *flag, const char *value)
{
    for (int i = 0; i < NODE_SETTINGS; i++)
        if (strcmp(flag, table[i].flag) == 0) return set(i, value, flag), true;
    return false;
}

static bool is_right(int i)
{
    char *end = NULL;
    errno = 0;
    uint64_t number = strtoull(table[i].value, &end, 0);
    return !errno && end != table[i].value && !*end && table[i].value[0] != '-' && number >= table[i].least && number <= table[i].most;
}

const char *node_settings_check(void)
{
    static char wrong[900];
    for (int i = 0; i < NODE_SETTINGS; i++) {
        if (!table[i].most || is_right(i)) continue;
        snprintf(wrong, sizeof wrong, "%s: \"%s\" is not a number from %llu to %llu", table[i].origin, table[i].value,
            (unsigned long long)table[i].least, (unsigned long long)table[i].most);
        return wrong;
    }
    return NULL;
}

const char *node_settings_text(node_setting which) { return table[which].value; }
uint64_t node_settings_number(node_setting which) { return strtoull(table[which].value, NULL, 0); }

void node_settings_each(void (*visit)(const char *name, const char *value, const char *origin, void *context), void *context)
{
    for (int i = 0; i < NODE_SETTINGS; i++) visit(table[i].name, table[i].value, table[i].origin, context);
}
