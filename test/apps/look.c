/* A program for test/check/cluster_commands.sh to look at: actors with known states and counts, until a line can be read from the file in its argument. */
#include <stdio.h>

#include <manta/manta.h>

enum { PATIENTS = 20 };

MANTA_ACTOR(Patient, int64_t notes;)
MANTA_METHOD(Patient, note, void) { self->notes++; }
MANTA_METHOD(Patient, beat, void) { (void)self; }
MANTA_METHOD(Patient, refuse, void)
{
    (void)self;
    manta_fail(MANTA_EINVAL, "as asked");
}
MANTA_METHOD(Patient, wait_long, void)
{
    (void)self;
    (void)manta_sleep(60000);
}
MANTA_CLASS(Patient, note, beat, refuse, wait_long)

MANTA_TASK(slow_task, int64_t)
{
    (void)manta_sleep(60000);
    return 0;
}

MANTA_ACTOR(Ward, int unused;)
MANTA_METHOD(Ward, make_patient, void)
{
    (void)self;
    Patient_ref p = Patient_spawn_with(MANTA_OPTIONS(.name = "the-patient"));
    (void)Patient_note_send(p);
    (void)Patient_note_send(p);
    (void)Patient_note_send(p);
}
MANTA_CLASS(Ward, make_patient)

int main(int argc, char **argv)
{
    manta_t *m = manta_init(&argc, &argv);
    char line[16];
    Patient_ref p[PATIENTS];
    if (!m || argc < 2) return 1;
    for (int i = 1; i < PATIENTS; i++) p[i] = Patient_spawn();
    for (int i = 1; i < PATIENTS; i++)
        for (int k = 0; k < 3; k++) (void)manta_join(Patient_note(p[i]));
    (void)manta_join(Patient_refuse(p[1]));
    for (int i = 3; i < PATIENTS; i++) (void)Patient_beat_every(50, p[i]);
    (void)Patient_wait_long_send(p[2]);
    manta_int64_t_future slow = slow_task_submit();
    (void)manta_join(Ward_make_patient(Ward_spawn()));
    FILE *f = fopen(argv[1], "r");
    char *got = f ? fgets(line, sizeof line, f) : NULL;
    (void)manta_future_release(slow.future);
    (void)manta_shutdown(m);
    return got ? 0 : 1;
}
