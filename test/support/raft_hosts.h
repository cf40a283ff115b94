/*
 * Raft hosts in one process, on a network that is a queue in memory: the tests' way to have a cluster with real disks and real time.
 *
 * Each has a machine that counts and hashes the commands it applied, and pads its snapshots to `snapshot_bytes`. Tokens: 1.., each ends once, which is checked (`broken` says what went wrong).
 */
#ifndef MANTA_TEST_RAFT_HOSTS_H
#define MANTA_TEST_RAFT_HOSTS_H

#include "gcs/host/raft_host.h"

enum { HOSTS_MAX = 5, HOSTS_TOKENS = 1 << 17, HOSTS_QUEUE = 1 << 14 };

typedef enum token_state { TOKEN_UNUSED, TOKEN_WAITS, TOKEN_APPLIED, TOKEN_LOST } token_state;

typedef struct host_node {
    struct host_cluster *cluster;
    raft_host *host; /* NULL: down */
    uint64_t id;
    char directory[200];           /* "": in memory */
    uint64_t applied, count, hash; /* of the machine */
    bool is_cut;                   /* from the network */
    char text[RAFT_TEXT_LIMIT];    /* of the last start that failed */
    _Atomic bool woken;
} host_node;

typedef struct host_cluster {
    uint32_t count;
    host_node nodes[HOSTS_MAX];
    raft_host_options options; /* of every start: directory and id apart */
    raft_configuration founders;
    char directory[128]; /* a fresh one; "": in memory */
    uint64_t snapshot_bytes;
    void (*during_apply)(host_node *n); /* or NULL */
    uint32_t flip_byte;                 /* not 0: this byte of a chunk of a snapshot is changed on its way */
    struct {
        uint64_t from, to;
        raft_buffer *message;
    } queue[HOSTS_QUEUE];
    uint32_t queue_head, queue_count;
    uint8_t tokens[HOSTS_TOKENS]; /* token_state */
    raft_result results[HOSTS_TOKENS];
    uint64_t last_token, applied, lost, reads_ended, change_token;
    raft_result read_result, change_result;
    char broken[200]; /* a promise of raft_host.h that was not kept; "": none */
} host_cluster;

host_cluster *hosts_new(uint32_t count, bool on_disk); /* not started; election 100 ms, heartbeat 20 ms */
void hosts_free(host_cluster *c);                      /* stops all, removes the directory */
manta_status hosts_start(host_cluster *c, uint32_t at);
bool hosts_start_all(host_cluster *c);
void hosts_stop(host_cluster *c, uint32_t at);
void hosts_pump(host_cluster *c); /* delivers what is queued, and runs who is due */

host_node *hosts_leader(host_cluster *c); /* one that is_ready; NULL: none */
bool hosts_wait_leader(host_cluster *c);  /* 20 s at most, like the next */
/* n commands of `size` bytes to the leader as one submit; the first token. */
uint64_t hosts_submit(host_cluster *c, host_node *n, uint32_t count, uint32_t size);
bool hosts_wait_applied(host_cluster *c, uint64_t token); /* up to this token all ended, and this one was applied */
bool hosts_wait_equal(
    host_cluster *c, uint64_t at_least); /* all that are up and not cut have applied so many commands, and have equal hashes */
bool hosts_commit(
    host_cluster *c, uint32_t count, uint32_t size); /* waits for a leader, submits and waits, again after a loss of leadership */

#define HOSTS_WAIT(c, condition) \
    ({ \
        double end_ = test_now_s() + 20; \
        while (!(condition) && test_now_s() < end_ && !(c)->broken[0]) hosts_pump(c); \
        (condition) && !(c)->broken[0]; \
    })

/* A fresh folder on a real disk (not tmpfs): under $TMPDIR or /var/tmp. */
void test_folder_make(char *out, size_t room);
void test_folder_remove(const char *path);

#endif
