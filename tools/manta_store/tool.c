/* Parsing of commands and options, --help, errors; opening a store with an error that a person understands. */
#include "tools/manta_store/tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/os/os.h"
#include "scheduler/os/os_file.h"

static const char *program_name = "manta-store";

int tool_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "%s: ", program_name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return TOOL_WRONG;
}

/* ---- help ---- */

static void help_option(const tool_option *o)
{
    char left[64];
    snprintf(left, sizeof left, "--%s%s%s", o->name, o->kind == TOOL_FLAG ? "" : " ", o->kind == TOOL_FLAG ? "" : o->value);
    printf("  %-26s %s\n", left, o->help);
}

static int help_command(const tool_command *c)
{
    printf("usage: %s %s %s%s\n%s\n", program_name, c->name, c->arguments, c->n_options ? " [options]" : "", c->summary);
    if (c->more) printf("%s\n", c->more);
    printf("\noptions:\n");
    for (size_t i = 0; i < c->n_options; i++) help_option(&c->options[i]);
    printf("  %-26s this text\n", "--help");
    return TOOL_OK;
}

static int help(FILE *out, const tool_command *const *commands, size_t n)
{
    fprintf(out, "usage: %s COMMAND [arguments]\n\ncommands:\n", program_name);
    for (size_t i = 0; i < n; i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", commands[i]->name, commands[i]->arguments);
        fprintf(out, "  %-20s %s\n", left, commands[i]->summary);
    }
    fprintf(out, "\n%s COMMAND --help tells more. Exit codes: 0 fine, 1 something is wrong, 2 wrong usage.\n", program_name);
    return out == stdout ? TOOL_OK : TOOL_USAGE;
}

/* ---- parsing ---- */

typedef struct parse {
    const tool_command *command;
    int argc, at, n_arguments;
    char **argv; /* arguments that are no options gather in front */
    bool wants_help, options_ended;
} parse;

static bool misused(const tool_command *c, const char *format, ...) MANTA_PRINTF(2, 3);
static bool misused(const tool_command *c, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s %s: %s (try %s %s --help)\n", program_name, c->name, text, program_name, c->name);
    return false;
}

static bool take_number(const tool_command *c, const tool_option *o, const char *text)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n < o->min || n > o->max)
        return misused(c, "--%s %s: a number from %" PRIu64 " to %" PRIu64 " is needed", o->name, text, o->min, o->max);
    *(uint64_t *)o->to = n;
    return true;
}

static bool take_choice(const tool_command *c, const tool_option *o, const char *text)
{
    uint64_t which = 0;
    for (const char *word = o->value; word; which++) {
        const char *bar = strchr(word, '|');
        size_t length = bar ? (size_t)(bar - word) : strlen(word);
        if (strlen(text) == length && strncmp(word, text, length) == 0) {
            *(uint64_t *)o->to = which;
            return true;
        }
        word = bar ? bar + 1 : NULL;
    }
    return misused(c, "--%s %s: one of %s is needed", o->name, text, o->value);
}

static const tool_option *find_option(const tool_command *c, const char *name, size_t length)
{
    for (size_t i = 0; i < c->n_options; i++)
        if (strlen(c->options[i].name) == length && strncmp(c->options[i].name, name, length) == 0) return &c->options[i];
    return NULL;
}

/* --name, --name VALUE or --name=VALUE */
static bool take_option(parse *p, const char *text)
{
    const tool_command *c = p->command;
    const char *equals = strchr(text, '=');
    const tool_option *o = find_option(c, text + 2, equals ? (size_t)(equals - text) - 2 : strlen(text + 2));
    if (!o) return misused(c, "unknown option %s", text);
    if (o->kind == TOOL_FLAG) {
        if (equals) return misused(c, "--%s takes no value", o->name);
        *(bool *)o->to = true;
        return true;
    }
    const char *value = equals ? equals + 1 : p->at < p->argc ? p->argv[p->at++] : NULL;
    if (!value) return misused(c, "--%s needs a value (%s)", o->name, o->value);
    return o->kind == TOOL_NUMBER ? take_number(c, o, value) : take_choice(c, o, value);
}

static bool take_word(parse *p)
{
    char *word = p->argv[p->at++];
    if (p->options_ended || word[0] != '-' || !word[1]) {
        p->argv[p->n_arguments++] = word;
        return true;
    }
    if (strcmp(word, "--") == 0) return p->options_ended = true;
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) return p->wants_help = true;
    return strncmp(word, "--", 2) == 0 ? take_option(p, word) : misused(p->command, "unknown option %s", word);
}

static int run_command(const tool_command *c, int argc, char **argv)
{
    parse p = {.command = c, .argc = argc, .argv = argv};
    while (p.at < p.argc)
        if (!take_word(&p)) return TOOL_USAGE;
    if (p.wants_help) return help_command(c);
    if (p.n_arguments >= c->least && p.n_arguments <= c->most) return c->run(p.n_arguments, argv);
    misused(c, "%s arguments: %s", p.n_arguments < c->least ? "missing" : "too many", c->arguments);
    return TOOL_USAGE;
}

static int dispatch(const tool_command *const *commands, size_t n, int argc, char **argv)
{
    if (argc < 2) return help(stderr, commands, n);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) return help(stdout, commands, n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(commands[i]->name, argv[1]) == 0) return run_command(commands[i], argc - 2, argv + 2);
    fprintf(stderr, "%s: unknown command %s (try %s --help)\n", program_name, argv[1], program_name);
    return TOOL_USAGE;
}

int tool_main(const char *program, const tool_command *const *commands, size_t n, int argc, char **argv)
{
    program_name = program;
    int code = dispatch(commands, n, argc, argv);
    bool failed = ferror(stdout) != 0;
    if ((fflush(stdout) || failed) && code != TOOL_USAGE) return tool_fail("standard output cannot be written");
    return code;
}

/* ---- stores ---- */

static void tell_why(const char *path, manta_status status)
{
    uint64_t bytes;
    int error = status == MANTA_ENOTFOUND ? os_path_free_bytes(path, &bytes) : 0;
    if (error) tool_fail("%s: %s", path, strerror(error));
    else if (status == MANTA_ENOTFOUND) tool_fail("%s: there is no store in this directory", path);
    else tool_fail("%s", store_error());
}

static store *open_as(const char *path, store_mode mode, const char *name)
{
    store *s = NULL;
    store_options o = {.mode = mode, .path = path, .name = name, .no_prefault = true};
    manta_status status = store_open(&o, &s);
    if (status) tell_why(path, status);
    return status ? NULL : s;
}

store *tool_open(const char *path, store_mode mode) { return open_as(path, mode, NULL); }

uint32_t tool_living(const store_info *info)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < info->processes; i++) n += info->process[i].alive;
    return n;
}

store *tool_attach(const char *path, const char *name)
{
    static store_info info;
    store *s = tool_open(path, STORE_INSPECT);
    if (!s) return NULL;
    bool is_read = !store_stat(s, &info);
    store_close(s);
    if (is_read && tool_living(&info)) return open_as(path, STORE_ATTACH, name);
    if (!is_read) tool_fail("%s", store_error());
    else tool_fail("%s: no living process uses it; attaching would free what dead ones held (inspect and verify do not)", path);
    return NULL;
}

void tool_sleep_until(uint64_t monotonic_ns)
{
    static _Atomic uint32_t never;
    for (uint64_t now = os_monotonic_ns(); now < monotonic_ns; now = os_monotonic_ns()) (void)os_futex_wait(&never, 0, monotonic_ns - now);
}
