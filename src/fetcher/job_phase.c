/*
 * job_phase.c - what a download is doing, and what of that readers see on the board.
 *
 * The fetcher; owns nothing. A crash here leaves the board, which the next fetcher clears:
 * readers see that their place is gone, and ask again.
 */
#include "fetcher/job.h"

STATES_DEFINE(job_phases, "a download", JOB_PHASES);

enum board_state job_shown(const struct job *job)
{
    static const enum board_state shown[] = {
        [JOB_NEW] = BOARD_QUEUED,     [JOB_LINK] = BOARD_QUEUED,     [JOB_OPEN] = BOARD_QUEUED,
        [JOB_CHECK] = BOARD_CONNECT,  [JOB_CONNECT] = BOARD_CONNECT, [JOB_SPACE] = BOARD_CONNECT,
        [JOB_STREAM] = BOARD_STREAM,  [JOB_DRAIN] = BOARD_STREAM,    [JOB_WAIT] = BOARD_STALLED,
        [JOB_RESUME] = BOARD_STALLED, [JOB_PLACE] = BOARD_VERIFY,    [JOB_COMMIT] = BOARD_COMMIT,
        [JOB_DONE] = BOARD_DONE,      [JOB_FAILED] = BOARD_FAILED};

    return shown[job->phase];
}

bool job_over(const struct job *job)
{
    return job->phase == JOB_DONE || job->phase == JOB_FAILED;
}

void job_publish(struct job *job)
{
    uint64_t have = job->part.size;
    struct job_peer *peer;

    if (!job->part_only && !job->verified && job->total != UINT64_MAX && have >= job->total)
        have = job->total > 0 ? job->total - 1 : 0;
    board_publish(job->f->board, job->slot, job_shown(job), job->total, have);
    TAILQ_FOREACH(peer, &job->peers, entry)
        fetch_ring(job->f, peer->id);
}

void job_move(struct job *job, enum job_phase phase)
{
    enum board_state before = job_shown(job);

    states_must(&job_phases, job->phase, phase);
    job->phase = phase;
    if (job_shown(job) != before)
        job_publish(job);
}
