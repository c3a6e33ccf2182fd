/*
 * status.c - what the master tells entrepotctl.
 *
 * Runs in the master, asked over the control socket (mode 0600, run directory
 * 0700: only root and the daemon's own account get there). Changes nothing.
 */
#include "config.h"
#include "master/master.h"

#include "base/clock.h"
#include "ipc/msg_operator.h"

#include <stdatomic.h>
#include <unistd.h>

const char *status_state_name(const struct slot *slot)
{
    switch (slot->state) {
    case SLOT_EMPTY:
        return "empty";
    case SLOT_STARTING:
        return "starting";
    case SLOT_READY:
        return slot->trouble ? "degraded" : "ready";
    case SLOT_DRAINING:
        return "draining";
    case SLOT_WAITING:
        return "waiting";
    case SLOT_FAILED:
        return "failed";
    }
    return "unknown";
}

/* Lines of what is wrong with it and what helps; "": nothing is. */
static const char *status_trouble(const struct slot *slot)
{
    switch (slot->state) {
    case SLOT_READY:
        return slot->trouble ? slot->trouble : "";
    case SLOT_WAITING:
        return "it ended again and again and is started anew after a wait: the log tells why";
    case SLOT_FAILED:
        return "it refuses its configuration or data and is not started again: the log tells why; "
               "correct it, then reload";
    case SLOT_EMPTY:
    case SLOT_STARTING:
    case SLOT_DRAINING:
        break;
    }
    return "";
}

static void status_slot(struct msg_writer *w, const struct master *m, size_t place)
{
    const struct slot *slot = &m->slots[place];
    struct tally_page *tally = tally_at(m->tally, place);

    operator_process_put(
        w, &(struct operator_process){.role = m->roles[slot->role].name,
                                      .state = status_state_name(slot),
                                      .trouble = status_trouble(slot),
                                      .slot = (uint32_t)place,
                                      .generation = slot->generation,
                                      .restarts = slot->restarts,
                                      .pid = (uint32_t)slot->pid,
                                      .connections = atomic_load(&tally->http.connections),
                                      .requests = atomic_load(&tally->http.requests),
                                      .bytes_in = atomic_load(&tally->http.bytes_in),
                                      .bytes_out = atomic_load(&tally->http.bytes_out),
                                      .asks = atomic_load(&tally->asks)});
}

static int status_all(struct master *m, struct serve *serve, struct serve_return to,
                      struct msg_reader *question)
{
    struct operator_daemon daemon = {.version = PACKAGE_VERSION,
                                     .file = m->conf->file,
                                     .pid = (uint32_t)getpid(),
                                     .generation = m->generation,
                                     .uptime_s = (clock_boot_ms() - m->started_ms) / 1000};
    struct msg_writer w = {0};
    uint32_t count = 0;

    if (msg_end(question) != 0)
        return ERR_PROTOCOL;
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        count += m->slots[i].state != SLOT_EMPTY;
    serve_reply_begin(&w, to);
    reply_err_put(&w, 0);
    operator_daemon_put(&w, &daemon);
    reply_count_put(&w, count);
    for (size_t i = 0; i < TALLY_SLOTS_MAX; i++)
        if (m->slots[i].state != SLOT_EMPTY)
            status_slot(&w, m, i);
    serve_reply(serve, to, &w, -1);
    return 0;
}

static const struct {
    int (*answer)(struct master *m, struct serve *serve, struct serve_return to,
                  struct msg_reader *question);
} questions[MSG_TYPE_COUNT] = {
    [MSG_CTL_STATUS] = {status_all},
};

int status_message(struct serve *serve, struct serve_return to, struct msg_reader *question,
                   void *ctx)
{
    return questions[question->type].answer(ctx, serve, to, question);
}
