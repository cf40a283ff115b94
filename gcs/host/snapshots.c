/*
 * Snapshots of this server: saved by the machine into memory and written by the disk's thread; received into memory, restored at once, and written before the write that makes it count.
 */
#include <inttypes.h>
#include <string.h>

#include "gcs/host/host_internal.h"
#include "gcs/raft/raft_bytes.h"
#include "gcs/raft/raft_message.h"
#include "scheduler/os/os_file.h"

static void replace_image(raft_image **place, raft_image *image)
{
    raft_image_release(*place);
    *place = image;
}

/* ---- saving ---- */

static void save_failed(raft_host *h) { (void)host_step(h, &(raft_event){.kind = RAFT_SNAPSHOT_FAILED}); }

static void begin_file(raft_host *h, raft_image *image)
{
    char text[RAFT_TEXT_LIMIT];
    if (h->in_memory) {
        replace_image(&h->disk.job.image, image);
        store_relaxed(&h->disk.job_done, true);
        return;
    }
    if (raft_disk_begin_job(&h->disk, &h->saved, image, text)) host_fail(h, "%s", text);
    raft_image_release(image);
}

void host_save(raft_host *h)
{
    raft_sink sink = {raft_image_new(0)};
    manta_status status = sink.image ? h->calls.save(h->calls.context, &sink) : MANTA_ENOMEM;
    if (status || !raft_describe_snapshot(h->core, h->applied, &h->saved)) {
        raft_image_release(sink.image);
        save_failed(h);
        return;
    }
    h->saved.identity = raft_image_identity(sink.image);
    h->saved.size_bytes = sink.image->size;
    h->is_saving = true;
    begin_file(h, sink.image);
}

/* The job ends before the core hears of it, for it may ask for the next one at once. */
void host_saved(raft_host *h)
{
    raft_event e = {.kind = RAFT_SNAPSHOT_TAKEN, .snapshot = {h->saved.index, h->saved.identity, h->saved.size_bytes}};
    raft_image *image = h->in_memory ? raft_image_retain(h->disk.job.image) : NULL;
    raft_snapshot saved = h->saved;
    char path[HOST_PATH_BYTES];
    h->is_saving = false;
    store_relaxed(&h->disk.job_done, false);
    file_job_end(&h->disk.job);
    raft_image *before = h->image;
    h->image = image; /* what a chunk of this step is read from */
    if (!host_step(h, &e)) {
        h->stats.snapshots_taken++;
        raft_image_release(before);
        return;
    }
    raft_image_release(image);
    h->image = before;
    raft_image_path(h->disk.store.directory, &saved, path);
    if (!h->in_memory) (void)os_file_remove(path); /* the next start removes what stays */
}

/* ---- receiving ---- */

void host_take_chunk(raft_host *h, const raft_effects *x)
{
    uint64_t size = x->chunk.snapshot->size_bytes;
    if (!x->chunk.offset) replace_image(&h->receiving, size <= IMAGE_BYTES_MAX ? raft_image_new(size) : NULL);
    if (!h->receiving) {
        host_fail(h, "no memory to receive a snapshot of %" PRIu64 " bytes", size);
        return;
    }
    if (x->chunk.size) memcpy(h->receiving->bytes + x->chunk.offset, x->chunk.bytes, x->chunk.size);
    h->receiving->size = x->chunk.offset + x->chunk.size;
}

void host_restore(raft_host *h, const raft_snapshot *about)
{
    uint64_t identity = raft_image_identity(h->receiving);
    if (identity != about->identity) {
        host_fail(h, "the snapshot %" PRIu64 " came damaged: its bytes have the identity %016" PRIx64 ", not %016" PRIx64, about->index,
            identity, about->identity);
        return;
    }
    manta_status status = h->calls.restore(h->calls.context, h->receiving->bytes, (size_t)h->receiving->size);
    if (status) {
        host_fail(h, "restoring the received snapshot %" PRIu64 ": %s", about->index, manta_status_text(status));
        return;
    }
    replace_image(&h->image, h->receiving);
    h->receiving = NULL;
    h->applied = about->index;
    h->applied_term = about->term;
    h->stats.snapshots_received++;
}

/* ---- sending ---- */

static bool is_of(const raft_snapshot *a, const raft_snapshot *b) { return a->index == b->index && a->identity == b->identity; }

static int open_file(raft_host *h, const raft_snapshot *about)
{
    char path[HOST_PATH_BYTES];
    if (h->file >= 0 && is_of(&h->file_of, about)) return 0;
    os_file_close(h->file);
    h->file = -1;
    h->file_of = *about;
    raft_image_path(h->disk.store.directory, about, path);
    return os_file_open(path, OS_READ, &h->file);
}

static int read_chunk(raft_host *h, const raft_message *m, unsigned char *out)
{
    if (h->image) {
        memcpy(out, h->image->bytes + m->chunk.offset, m->chunk.size);
        return 0;
    }
    int error = open_file(h, m->chunk.snapshot);
    return error ? error : os_file_read(h->file, out, m->chunk.size, IMAGE_HEAD + m->chunk.offset);
}

/* The chunk is read to where the encoding puts it: at the frame's end. */
void host_send_chunk(raft_host *h, raft_message *m, const char *address)
{
    size_t size = HOST_FRAME_HEAD + raft_message_size(m);
    raft_buffer *frame = size <= UINT32_MAX ? raft_buffer_new(NULL, (uint32_t)size) : NULL;
    if (!frame) return; /* lost, as on any network */
    unsigned char *at = frame->bytes + (size - m->chunk.size);
    int error = read_chunk(h, m, at);
    if (error) {
        host_fail(h, "reading the snapshot %" PRIu64 " for server %" PRIu64 ": %s", m->chunk.snapshot->index, m->to, strerror(error));
        raft_buffer_release(frame);
        return;
    }
    m->chunk.bytes = at;
    raft_message_encode(m, raft_put_number(frame->bytes, h->cluster, HOST_FRAME_HEAD));
    host_queue(h, m->to, address, m->after_write, frame);
}

void host_snapshots_fini(raft_host *h)
{
    replace_image(&h->image, NULL);
    replace_image(&h->receiving, NULL);
    if (h->in_memory) replace_image(&h->disk.job.image, NULL);
    os_file_close(h->file);
    h->file = -1;
}
