/* Text for people, and JSON. */
#include "tools/manta_store/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- for people ---- */

const char *text_size(uint64_t bytes, char out[TEXT_BYTES])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t i = 0;
    if (bytes < 1024) snprintf(out, TEXT_BYTES, "%" PRIu64 " B", bytes);
    if (bytes < 1024) return out;
    for (; value >= 1023.95 && i + 1 < sizeof units / sizeof *units; i++) value /= 1024; /* 1023.95 would be written as 1024.0 */
    snprintf(out, TEXT_BYTES, "%.1f %s", value, units[i]);
    return out;
}

const char *text_time(uint64_t ms, char out[TEXT_BYTES])
{
    enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
    if (ms < SECOND) snprintf(out, TEXT_BYTES, "%" PRIu64 " ms", ms);
    else if (ms < 2 * MINUTE) snprintf(out, TEXT_BYTES, "%.1f s", (double)ms / SECOND);
    else if (ms < 2 * HOUR) snprintf(out, TEXT_BYTES, "%.1f min", (double)ms / MINUTE);
    else if (ms < 2ull * DAY) snprintf(out, TEXT_BYTES, "%.1f h", (double)ms / HOUR);
    else snprintf(out, TEXT_BYTES, "%.1f d", (double)ms / DAY);
    return out;
}

const char *text_id(store_id id, char out[TEXT_ID_BYTES])
{
    snprintf(out, TEXT_ID_BYTES, "%016" PRIx64 "-%" PRIx64, id.word[0], id.word[1]);
    return out;
}

bool text_parse_id(const char *text, store_id *out)
{
    size_t first = strspn(text, "0123456789abcdef");
    if (first < 1 || first > 16 || text[first] != '-') return false;
    size_t second = strspn(text + first + 1, "0123456789abcdef");
    if (second < 1 || second > 16 || text[first + 1 + second]) return false;
    *out = (store_id){{strtoull(text, NULL, 16), strtoull(text + first + 1, NULL, 16)}};
    return out->word[0] != 0;
}

unsigned text_percent(uint64_t part, uint64_t whole) { return whole ? (unsigned)(100.0 * (double)part / (double)whole + 0.5) : 0; }

/* ---- UTF-8 ---- */

static bool is_tail(const unsigned char *s, int n)
{
    for (int i = 0; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return false;
    return true;
}

/* Bytes of the character that begins at s, 0: it is none. No overlong forms, no surrogates, nothing above U+10FFFF. */
static int character(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80) return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) return is_tail(s + 1, 1) ? 2 : 0;
    if ((s[0] & 0xf0) == 0xe0) {
        bool is_bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f);
        return !is_bad && is_tail(s + 1, 2) ? 3 : 0;
    }
    bool is_bad = s[0] < 0xf0 || s[0] > 0xf4 || (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return !is_bad && is_tail(s + 1, 3) ? 4 : 0;
}

static bool is_control(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

const char *text_plain(const char *text, char out[], size_t size)
{
    size_t n = 0;
    while (*text) {
        int length = character(text);
        bool is_fine = length && !is_control(text);
        size_t bytes = is_fine ? (size_t)length : 1;
        if (n + bytes >= size) break;
        if (is_fine) memcpy(out + n, text, bytes);
        else out[n] = '?';
        n += bytes;
        text += length ? length : 1;
    }
    out[n] = 0;
    return out;
}

/* ---- JSON ---- */

static void quoted(FILE *out, const char *text)
{
    fputc('"', out);
    while (*text) {
        int length = character(text);
        if (!length) fputs("\\ufffd", out);
        else if (length > 1) fwrite(text, 1, (size_t)length, out);
        else if (*text == '"' || *text == '\\') fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f) fprintf(out, "\\u%04x", (unsigned char)*text);
        else fputc(*text, out);
        text += length ? length : 1;
    }
    fputc('"', out);
}

static void begin_value(json *j, const char *key)
{
    if (j->has_values >> j->depth & 1) fputc(',', j->out);
    j->has_values |= 1ull << j->depth;
    if (!key) return;
    quoted(j->out, key);
    fputc(':', j->out);
}

void json_open(json *j, const char *key, char bracket)
{
    begin_value(j, key);
    fputc(bracket, j->out);
    j->depth++;
    j->has_values &= ~(1ull << j->depth);
}

void json_close(json *j, char bracket)
{
    fputc(bracket, j->out);
    if (--j->depth) return;
    fputc('\n', j->out);
    j->has_values = 0;
}

void json_number(json *j, const char *key, uint64_t value)
{
    begin_value(j, key);
    fprintf(j->out, "%" PRIu64, value);
}

void json_bool(json *j, const char *key, bool value)
{
    begin_value(j, key);
    fputs(value ? "true" : "false", j->out);
}

void json_null(json *j, const char *key)
{
    begin_value(j, key);
    fputs("null", j->out);
}

void json_text(json *j, const char *key, const char *text)
{
    begin_value(j, key);
    quoted(j->out, text);
}
