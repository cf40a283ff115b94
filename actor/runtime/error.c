/*
 * Errors. One error is one block: the struct, its message, and its causes one after the other, so that it moves between owners as a whole.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "actor/runtime/internal.h"

enum { ERROR_DEPTH = 8, ERROR_TEXT = 512 };

#define STATIC_ERROR(name, value, text, retry) {MANTA_##name, text, "", "", {0}, "local", NULL},
static manta_error static_errors[] = {MANTA_STATUS_TABLE(STATIC_ERROR)};

static bool is_static(const manta_error *e)
{
    return e >= static_errors && e < static_errors + sizeof static_errors / sizeof static_errors[0];
}

static manta_error *static_error(manta_status status)
{
    size_t i = (size_t)status;
    return &static_errors[i < sizeof static_errors / sizeof static_errors[0] ? i : MANTA_EUNKNOWN];
}

static size_t chain_bytes(const manta_error *e)
{
    size_t bytes = 0;
    for (int depth = 0; e && depth < ERROR_DEPTH; depth++, e = e->cause) bytes += sizeof *e + ((strlen(e->message) + 16) & ~(size_t)15);
    return bytes;
}

/* Writes the chain from `at` on; the first becomes *at. */
static void chain_copy(unsigned char *at, const manta_error *e)
{
    for (int depth = 0; e && depth < ERROR_DEPTH; depth++, e = e->cause) {
        manta_error *copy = (manta_error *)(void *)at;
        size_t text = (strlen(e->message) + 16) & ~(size_t)15;
        *copy = *e;
        copy->message = memcpy(at + sizeof *copy, e->message, strlen(e->message) + 1);
        at += sizeof *copy + text;
        copy->cause = e->cause && depth + 1 < ERROR_DEPTH ? (const manta_error *)(void *)at : NULL;
    }
}

manta_error *error_copy(const manta_error *error)
{
    if (is_static(error)) return (manta_error *)error;
    block *b = block_new(chain_bytes(error));
    if (!b) return static_error(error->status);
    chain_copy(b->bytes, error);
    return (manta_error *)(void *)b->bytes;
}

manta_error *error_newv(manta_status status, const manta_error *cause, const char *format, va_list arguments)
{
    char text[ERROR_TEXT];
    vsnprintf(text, sizeof text, format, arguments);
    worker *w = worker_self();
    activation *act = w ? activation_of(w) : NULL;
    manta_error e = {status, text, "", "", {0}, "local", cause};
    if (act && act->method) {
        e.class_name = act->method->owner;
        e.method = act->method->name;
    }
    if (act && act->actor) e.actor.id = actor_id(act->actor);
    return error_copy(&e);
}

manta_error *error_new(manta_status status, const manta_error *cause, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    manta_error *e = error_newv(status, cause, format, arguments);
    va_end(arguments);
    return e;
}

static block *block_of_error(const manta_error *e) { return (block *)(void *)((unsigned char *)(uintptr_t)e - offsetof(block, bytes)); }

void error_free(const manta_error *error)
{
    if (error && !is_static(error)) base_free(block_of_error(error));
}

manta_status error_set_last(manta_error *error)
{
    activation *act = activation_self();
    manta_status status = error->status;
    if (act) {
        act->last_error = error;
        if (!is_static(error)) scope_add_block(act, block_of_error(error));
    } else error_free(error);
    return status;
}

manta_status error_set(manta_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    manta_error *e = error_newv(status, NULL, format, arguments);
    va_end(arguments);
    return error_set_last(e);
}

const manta_error *manta_last_error(void)
{
    activation *act = activation_self();
    return act && act->last_error ? act->last_error : static_error(MANTA_OK);
}

int manta_error_format(const manta_error *error, char *out, size_t out_bytes)
{
    int n = 0;
    for (int depth = 0; error && depth < ERROR_DEPTH; depth++, error = error->cause) {
        size_t left = (size_t)n < out_bytes ? out_bytes - (size_t)n : 0;
        bool where = error->method[0];
        n += snprintf(left ? out + n : NULL, left, "%s%s: %s%s%s%s%s%s", depth ? " <- " : "", manta_status_name(error->status),
            error->message, where ? " (" : "", error->class_name, error->class_name[0] ? "." : "", error->method, where ? ")" : "");
    }
    return n;
}
