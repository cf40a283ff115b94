#include "scheduler/policy/resources.h"

#include <stdio.h>
#include <string.h>

enum { DECIMALS = 4 };

/* Where the name is, or would be. */
static uint32_t position(const resources *r, const char *name, bool *out_found)
{
    uint32_t i = 0;
    int order = 1;
    while (i < r->n && (order = strncmp(r->items[i].name, name, RESOURCE_NAME)) < 0) i++;
    *out_found = i < r->n && order == 0;
    return i;
}

int64_t resources_get(const resources *r, const char *name)
{
    bool found;
    uint32_t i = position(r, name, &found);
    return found ? r->items[i].amount : 0;
}

static void remove_at(resources *r, uint32_t i)
{
    r->n--;
    memmove(&r->items[i], &r->items[i + 1], (r->n - i) * sizeof *r->items);
    memset(&r->items[r->n], 0, sizeof *r->items);
}

bool resources_set(resources *r, const char *name, int64_t amount)
{
    bool found;
    uint32_t i = position(r, name, &found);
    if (found && amount == 0) remove_at(r, i);
    if (found && amount) r->items[i].amount = amount;
    if (found || amount == 0) return true;
    if (r->n == RESOURCES_MAX) return false;
    memmove(&r->items[i + 1], &r->items[i], (r->n - i) * sizeof *r->items);
    r->n++;
    memset(&r->items[i], 0, sizeof r->items[i]);
    snprintf(r->items[i].name, RESOURCE_NAME, "%s", name);
    r->items[i].amount = amount;
    return true;
}

bool resources_fit(const resources *need, const resources *have)
{
    for (uint32_t i = 0; i < need->n; i++)
        if (need->items[i].amount > resources_get(have, need->items[i].name)) return false;
    return true;
}

void resources_take(resources *have, const resources *need)
{
    for (uint32_t i = 0; i < need->n; i++)
        (void)resources_set(have, need->items[i].name, resources_get(have, need->items[i].name) - need->items[i].amount);
}

bool resources_give(resources *have, const resources *back)
{
    bool ok = true;
    for (uint32_t i = 0; i < back->n; i++)
        ok = resources_set(have, back->items[i].name, resources_get(have, back->items[i].name) + back->items[i].amount) && ok;
    return ok;
}

bool resources_equal(const resources *a, const resources *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++)
        same = a->items[i].amount == b->items[i].amount && strncmp(a->items[i].name, b->items[i].name, RESOURCE_NAME) == 0;
    return same;
}

/* ---- as text ---- */

/* "12.5" up to end; -1: no number of that form. */
static int64_t parse_amount(const char *at, const char *end)
{
    int64_t whole = 0, part = 0;
    int decimals = 0;
    if (at == end || *at == '.') return -1;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (whole > RESOURCE_MOST / 10 - 1) return -1;
        whole = whole * 10 + (*at - '0');
    }
    if (at < end && *at == '.' && ++at == end) return -1;
    for (; at < end && *at >= '0' && *at <= '9' && decimals < DECIMALS; at++, decimals++) part = part * 10 + (*at - '0');
    for (; decimals < DECIMALS; decimals++) part *= 10;
    return at == end ? whole * RESOURCE_UNIT + part : -1;
}

static bool is_name(const char *at, size_t bytes)
{
    if (!bytes || bytes >= RESOURCE_NAME) return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = at[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
        if (!ok) return false;
    }
    return true;
}

static bool parse_one(const char *at, const char *end, resources *out, char *error, size_t room)
{
    char name[RESOURCE_NAME] = "";
    const char *equal = memchr(at, '=', (size_t)(end - at));
    size_t n = (size_t)((equal ? equal : end) - at);
    int64_t amount = equal ? parse_amount(equal + 1, end) : -1;
    if (!is_name(at, n))
        snprintf(error, room, "\"%.*s\": a name has 1 to %d letters, digits, _ - .", (int)(end - at), at, RESOURCE_NAME - 1);
    else if (amount < 0) snprintf(error, room, "\"%.*s\": an amount is a number with at most %d decimals", (int)(end - at), at, DECIMALS);
    else if (memcpy(name, at, n), !resources_set(out, name, amount)) snprintf(error, room, "more than %d resources", RESOURCES_MAX);
    else return true;
    return false;
}

bool resources_parse(const char *text, size_t bytes, resources *out, char *error, size_t room)
{
    for (const char *at = text, *last = text + bytes; at < last;) {
        const char *comma = memchr(at, ',', (size_t)(last - at)), *end = comma ? comma : last;
        if (!parse_one(at, end, out, error, room)) return false;
        at = end + 1;
    }
    return true;
}

size_t resources_format(const resources *r, char *out, size_t room)
{
    size_t n = 0;
    if (room) out[0] = 0;
    for (uint32_t i = 0; i < r->n; i++) {
        int64_t a = r->items[i].amount, size = a < 0 ? -a : a;
        char part[8] = "", *to = n < room ? out + n : out;
        if (size % RESOURCE_UNIT) snprintf(part, sizeof part, ".%04d", (int)(size % RESOURCE_UNIT));
        for (size_t k = strlen(part); k && part[k - 1] == '0';) part[--k] = 0;
        n += (size_t)snprintf(to, n < room ? room - n : 0, "%s%s=%s%lld%s", i ? "," : "", r->items[i].name, a < 0 ? "-" : "",
            (long long)(size / RESOURCE_UNIT), part);
    }
    return n;
}

/* ---- labels ---- */

static bool has_pair(const char *have, const char *pair, size_t bytes)
{
    for (const char *at = have; at && *at;) {
        const char *comma = strchr(at, ',');
        size_t n = comma ? (size_t)(comma - at) : strlen(at);
        if (n == bytes && memcmp(at, pair, n) == 0) return true;
        at = comma ? comma + 1 : NULL;
    }
    return false;
}

static bool holds(const char *at, size_t n, const char *have)
{
    char pair[LABELS_TEXT];
    const char *equal = memchr(at, '=', n);
    if (n >= sizeof pair || !equal) return false;
    bool negated = equal > at && equal[-1] == '!';
    if (!negated) return has_pair(have, at, n);
    size_t key = (size_t)(equal - 1 - at);
    memcpy(pair, at, key);
    memcpy(pair + key, equal, n - key - 1);
    return !has_pair(have, pair, n - 1);
}

bool labels_match(const char *wanted, const char *have)
{
    for (const char *at = wanted; at && *at;) {
        const char *comma = strchr(at, ',');
        if (!holds(at, comma ? (size_t)(comma - at) : strlen(at), have)) return false;
        at = comma ? comma + 1 : NULL;
    }
    return true;
}

bool labels_valid(const char *text, bool wanted)
{
    if (strlen(text) >= LABELS_TEXT) return false;
    for (const char *at = text; at && *at;) {
        const char *comma = strchr(at, ',');
        size_t n = comma ? (size_t)(comma - at) : strlen(at);
        const char *equal = memchr(at, '=', n);
        bool negated = equal && equal > at && equal[-1] == '!';
        if (!equal || equal - negated == at || (negated && !wanted)) return false;
        at = comma ? comma + 1 : NULL;
    }
    return true;
}
