#include <manta/status.h>

#include <stddef.h>

typedef struct status_entry {
    const char *name, *text;
    bool is_retryable;
} status_entry;

/* Indexed by wire value; a value that the table of the header skips stays all NULL. */
static const status_entry entries[] = {
#define STATUS_ENTRY(name, value, text, retry) [value] = {"MANTA_" #name, text, retry}, /* OK: [0] = {"MANTA_OK", "success", false}, */
    MANTA_STATUS_TABLE(STATUS_ENTRY)
#undef STATUS_ENTRY
};

static const status_entry *status_find(manta_status status)
{
    /* The value may come from another node, so it need not be one of the enum's. */
    size_t i = (size_t)status;
    return i < sizeof entries / sizeof entries[0] && entries[i].name ? &entries[i] : NULL;
}

const char *manta_status_name(manta_status status)
{
    const status_entry *e = status_find(status);
    return e ? e->name : "MANTA_?";
}

const char *manta_status_text(manta_status status)
{
    const status_entry *e = status_find(status);
    return e ? e->text : "unknown status";
}

bool manta_status_is_retryable(manta_status status)
{
    const status_entry *e = status_find(status);
    return e && e->is_retryable;
}
