#include "actor/runtime/config_file.h"

#include <stdio.h>
#include <string.h>

#include "scheduler/base/alloc.h"
#include "scheduler/os/os_file.h"

static char *skip_blanks(char *at) { return at + strspn(at, " \t\r"); }

/* Cuts the value out of the rest of a line, in place. NULL: it is well formed; else what is wrong. */
static const char *cut_value(char *rest, char **out)
{
    char *value = skip_blanks(rest), *end;
    *out = value;
    if (*value == '"' || *value == '\'') {
        *out = value + 1;
        if (!(end = strchr(value + 1, *value))) return "a quoted value without an end";
        *end++ = 0;
        end = skip_blanks(end);
        return *end && *end != '#' ? "something stands behind the quoted value" : NULL;
    }
    for (end = value; *end && !(*end == '#' && (end == value || end[-1] == ' ' || end[-1] == '\t')); end++) continue;
    while (end > value && strchr(" \t\r", end[-1])) end--;
    *end = 0;
    return NULL;
}

/* NULL: an empty line, or cut into name and value. */
static const char *cut_line(char *line, char **out_name, char **out_value)
{
    char *name = skip_blanks(line);
    *out_name = NULL;
    if (!*name || *name == '#') return NULL;
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    char *equals = skip_blanks(name + n);
    if (!n || *equals != '=') return "this is no `name = value`";
    const char *wrong = cut_value(equals + 1, out_value);
    name[n] = 0;
    *out_name = name;
    return wrong ? wrong : strlen(*out_value) >= CONFIG_VALUE_BYTES ? "the value is too long" : NULL;
}

static bool is_known(const char *const *names, size_t n, const char *name)
{
    while (n && strcmp(names[n - 1], name) != 0) n--;
    return n > 0;
}

static bool read_lines(char *text, const char *path, config_file_visit visit, void *context, char *error, size_t error_bytes)
{
    const char *names[CONFIG_FILE_SETTINGS];
    char where[400], *name = NULL, *value = NULL, *next = text;
    size_t n = 0;
    for (unsigned number = 1; next; number++) {
        char *line = next;
        if ((next = strchr(line, '\n'))) *next++ = 0;
        snprintf(where, sizeof where, "%s:%u", path, number);
        const char *wrong = cut_line(line, &name, &value);
        if (!wrong && !name) continue;
        if (!wrong && is_known(names, n, name)) wrong = "this setting has been there before";
        if (!wrong && n == CONFIG_FILE_SETTINGS) wrong = "too many settings";
        if (wrong) snprintf(error, error_bytes, "%s: %s", where, wrong);
        if (wrong || !visit(name, value, where, context, error, error_bytes)) return false;
        names[n++] = name;
    }
    return true;
}

bool config_file_read(const char *path, config_file_visit visit, void *context, char *error, size_t error_bytes)
{
    uint64_t bytes = 0;
    int fd = -1, number = os_file_open(path, OS_READ, &fd);
    if (!number) number = os_file_size(fd, &bytes);
    char *text = !number && bytes <= CONFIG_FILE_BYTES ? base_calloc(1, bytes + 1) : NULL;
    if (text && bytes) number = os_file_read(fd, text, bytes, 0);
    os_file_close(fd);
    bool has_zero = text && strlen(text) < bytes, ok = false;
    if (text && !number && !has_zero) ok = read_lines(text, path, visit, context, error, error_bytes);
    else if (number) snprintf(error, error_bytes, "%s: %s", path, strerror(number));
    else if (bytes > CONFIG_FILE_BYTES) snprintf(error, error_bytes, "%s: more than %d bytes", path, CONFIG_FILE_BYTES);
    else if (!text) snprintf(error, error_bytes, "%s: no memory", path);
    else snprintf(error, error_bytes, "%s: a byte 0 in it", path);
    base_free(text);
    return ok;
}
