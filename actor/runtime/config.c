#include "actor/runtime/config.h"
#include "actor/runtime/config_file.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct setting {
    const char *name; /* workers: MANTA_WORKERS and --manta-workers */
    size_t offset, bytes;
    uint64_t least, most, fallback;
} setting;

#define SETTING(field, least, most, fallback) \
    { \
#field, offsetof(manta_config, field), sizeof(((manta_config *)0)->field), least, most, fallback \
    }
static const setting settings[] = {
    SETTING(workers, 0, 64, 0),
    SETTING(seed, 0, UINT64_MAX, 0),
    SETTING(stack_bytes, 0, 1 << 30, 65536),
    SETTING(max_actors, 0, 16777216, 16777216),
    SETTING(stop_timeout_ms, 0, UINT32_MAX, 5000),
    SETTING(stuck_after_ms, 0, UINT32_MAX, 1000),
    SETTING(trace, 0, 2, 0),
    SETTING(trace_events, 0, 1 << 24, 65536),
    SETTING(stash_limit, 0, UINT32_MAX, 1024),
    SETTING(object_bytes, 0, 1ull << 46, 0),
    SETTING(spill_bytes, 0, 1ull << 50, 0),
    SETTING(object_sites, 0, 1, 0),
    SETTING(insecure, 0, 1, 0),
    SETTING(pull_bytes, 0, 1ull << 46, 0),
    SETTING(lineage_bytes, 0, 1ull << 46, 0),
    SETTING(lineage_after_ms, 0, UINT32_MAX, 0),
};
typedef struct text_setting {
    const char *name, *variable;
    size_t offset;
} text_setting;
static const text_setting texts[] = {{"store", "MANTA_STORE", offsetof(manta_config, store)},
    {"spill", "MANTA_SPILL", offsetof(manta_config, spill)}, {"listen", "MANTA_LISTEN", offsetof(manta_config, listen)},
    {"join", "MANTA_JOIN", offsetof(manta_config, join)}, {"cluster", "MANTA_CLUSTER", offsetof(manta_config, cluster)},
    {"keys", "MANTA_KEYS", offsetof(manta_config, keys)}, {"namespace", "MANTA_NAMESPACE", offsetof(manta_config, name_space)},
    {"durable", "MANTA_DURABLE", offsetof(manta_config, durable)}};
enum { N_TEXTS = sizeof texts / sizeof texts[0] };

static const char **text_field(const manta_config *c, const text_setting *t)
{
    return (const char **)(void *)((unsigned char *)(uintptr_t)c + t->offset);
}
enum { N_SETTINGS = sizeof settings / sizeof settings[0] };

/* Of the last config_resolve: where each value comes from, "": it is the default; the texts that a file gave. */
static char origins[N_SETTINGS + N_TEXTS][256], file_texts[N_TEXTS][CONFIG_VALUE_BYTES];

static void set_origin(int i, const char *text) { snprintf(origins[i], sizeof origins[i], "%s", text); }

static uint64_t read_field(const manta_config *c, const setting *s)
{
    const unsigned char *at = (const unsigned char *)c + s->offset;
    if (s->bytes == sizeof(uint64_t)) return *(const uint64_t *)(const void *)at;
    return *(const uint32_t *)(const void *)at;
}

static void write_field(manta_config *c, const setting *s, uint64_t value)
{
    unsigned char *at = (unsigned char *)c + s->offset;
    if (s->bytes == sizeof(uint64_t)) *(uint64_t *)(void *)at = value;
    else *(uint32_t *)(void *)at = (uint32_t)value;
}

static bool parse(const setting *s, const char *source, const char *text, manta_config *out, char *error, size_t error_bytes)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    if (errno || end == text || *end || text[0] == '-' || value < s->least || value > s->most) {
        snprintf(error, error_bytes, "%s: \"%s\" is not a number from %llu to %llu", source, text, (unsigned long long)s->least,
            (unsigned long long)s->most);
        return false;
    }
    write_field(out, s, value);
    return true;
}

static void variable_of(const setting *s, char out[64])
{
    size_t n = (size_t)snprintf(out, 64, "MANTA_");
    for (const char *c = s->name; *c; c++) out[n++] = (char)toupper((unsigned char)*c);
    out[n] = 0;
}

void config_each(const manta_config *c, config_visit visit, void *context)
{
    char value[32];
    for (int i = 0; i < N_SETTINGS; i++) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)read_field(c, &settings[i]));
        visit(settings[i].name, value, origins[i], context);
    }
    for (int i = 0; i < N_TEXTS; i++) {
        const char *text = *text_field(c, &texts[i]);
        visit(texts[i].name, text ? text : "", origins[N_SETTINGS + i], context);
    }
}

static bool from_environment(manta_config *out, char *error, size_t error_bytes)
{
    for (int i = 0; i < N_SETTINGS; i++) {
        char name[64];
        variable_of(&settings[i], name);
        const char *text = getenv(name);
        if (text && !parse(&settings[i], name, text, out, error, error_bytes)) return false;
        if (text) set_origin(i, name);
    }
    for (int i = 0; i < N_TEXTS; i++) {
        const char *text = getenv(texts[i].variable);
        if (!text || !*text) continue;
        *text_field(out, &texts[i]) = text;
        set_origin(N_SETTINGS + i, texts[i].variable);
    }
    return true;
}

static bool is_of_drivers(const char *name)
{
    return strcmp(name, "listen") == 0 || strcmp(name, "join") == 0 || strcmp(name, "cluster") == 0;
}

/* Settings of node daemons are in the same file; the command manta reads them. */
static bool take_line(const char *name, const char *value, const char *where, void *context, char *error, size_t error_bytes)
{
    manta_config *out = context;
    for (int i = 0; i < N_SETTINGS; i++) {
        if (strcmp(name, settings[i].name) != 0) continue;
        set_origin(i, where);
        return parse(&settings[i], where, value, out, error, error_bytes);
    }
    for (int i = 0; i < N_TEXTS; i++) {
        if (strcmp(name, texts[i].name) != 0) continue;
        if (is_of_drivers(name) && getenv("MANTA_WORKER")) return true;
        set_origin(N_SETTINGS + i, where);
        snprintf(file_texts[i], sizeof file_texts[i], "%s", value);
        *text_field(out, &texts[i]) = *value ? file_texts[i] : NULL;
        return true;
    }
    if (strncmp(name, "node_", 5) == 0) return true;
    snprintf(error, error_bytes, "%s: there is no setting \"%s\"; `manta config` lists them", where, name);
    return false;
}

/* The file is named by an argument, or else by the environment. */
const char *config_file_name(int argc, char **argv)
{
    const char *path = getenv("MANTA_CONFIG");
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strncmp(argv[i], CONFIG_ARGUMENT, strlen(CONFIG_ARGUMENT)) == 0) path = argv[i] + strlen(CONFIG_ARGUMENT);
    return path && *path ? path : NULL;
}

static const char *argument_value(const char *argument, const char *name)
{
    while (*name && (*argument == *name || (*name == '_' && *argument == '-'))) argument++, name++;
    return !*name && *argument == '=' ? argument + 1 : NULL;
}

static bool take_argument(const char *argument, manta_config *out, char *error, size_t error_bytes)
{
    const char *rest = argument + strlen("--manta-");
    if (strncmp(argument, CONFIG_ARGUMENT, strlen(CONFIG_ARGUMENT)) == 0) return true;
    for (int i = 0; i < N_SETTINGS; i++) {
        const char *value = argument_value(rest, settings[i].name);
        if (!value) continue;
        set_origin(i, "argument");
        return parse(&settings[i], argument, value, out, error, error_bytes);
    }
    for (int i = 0; i < N_TEXTS; i++) {
        const char *value = argument_value(rest, texts[i].name);
        if (!value || !*value) continue;
        set_origin(N_SETTINGS + i, "argument");
        return *text_field(out, &texts[i]) = value, true;
    }
    snprintf(error, error_bytes,
        "%s: no such setting; there are --manta-workers, -seed, -stack-bytes, -max-actors, -stop-timeout-ms, -stuck-after-ms, -trace, "
        "-trace-events, -stash-limit, -object-bytes, -spill-bytes, -object-sites and -insecure, each with =NUMBER, --manta-store, "
        "-spill and -durable with =DIRECTORY, --manta-listen, -join and -cluster with =ADDRESS, --manta-keys and -config with =FILE, "
        "--manta-namespace=NAME",
        argument);
    return false;
}

static bool from_arguments(int *argc, char **argv, manta_config *out, char *error, size_t error_bytes)
{
    int kept = 1;
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--") == 0) { /* what follows is the program's */
            while (i < *argc) argv[kept++] = argv[i++];
            break;
        }
        if (strncmp(argv[i], "--manta-", 8) != 0) argv[kept++] = argv[i];
        else if (!take_argument(argv[i], out, error, error_bytes)) return false;
    }
    if (kept < *argc) argv[kept] = NULL;
    *argc = kept;
    return true;
}

static bool from_given(const manta_config *given, manta_config *out, char *error, size_t error_bytes)
{
    if (given->size > sizeof *given) {
        snprintf(error, error_bytes, "manta_config.size is %zu, this library knows %zu bytes", given->size, sizeof *given);
        return false;
    }
    for (int i = 0; i < N_SETTINGS; i++) {
        uint64_t value = read_field(given, &settings[i]);
        if (value > settings[i].most) {
            snprintf(error, error_bytes, "manta_config.%s: %llu is above %llu", settings[i].name, (unsigned long long)value,
                (unsigned long long)settings[i].most);
            return false;
        }
        if (!value) continue;
        write_field(out, &settings[i], value);
        set_origin(i, "program");
    }
    for (int i = 0; i < N_TEXTS; i++) {
        if (!*text_field(given, &texts[i])) continue;
        *text_field(out, &texts[i]) = *text_field(given, &texts[i]);
        set_origin(N_SETTINGS + i, "program");
    }
    out->on_report = given->on_report;
    out->report_context = given->report_context;
    return true;
}

bool config_resolve(const manta_config *given, int *argc, char ***argv, manta_config *out, char *error, size_t error_bytes)
{
    memset(out, 0, sizeof *out);
    for (int i = 0; i < N_SETTINGS; i++) write_field(out, &settings[i], settings[i].fallback);
    memset(origins, 0, sizeof origins);
    const char *file = config_file_name(argc ? *argc : 0, argc && argv ? *argv : NULL);
    if (file && !config_file_read(file, take_line, out, error, error_bytes)) return false;
    if (!from_environment(out, error, error_bytes)) return false;
    if (given && !from_given(given, out, error, error_bytes)) return false;
    if (argc && argv && *argv && !from_arguments(argc, *argv, out, error, error_bytes)) return false;
    for (int i = 0; i < N_SETTINGS; i++) /* an explicit 0 means the default too */
        if (!read_field(out, &settings[i])) write_field(out, &settings[i], settings[i].fallback);
    return true;
}
