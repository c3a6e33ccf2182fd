/*
 * clock_watch.c - the master's look at the clocks, each second.
 *
 * What it knows lies in data_dir/clock (boot id, offset, since when), so that a restart
 * while the clock is wrong does not take that for the truth. A crash leaves the old file
 * or the new one; another boot's counts for nothing.
 */
#include "base/clock.h"
#include "base/container.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "master/master.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS  1000
#define FILE_MAX 256
#define BOOT_ID  "/proc/sys/kernel/random/boot_id"
/* The offset follows the slewing of the wall clock: written again when it has moved. */
#define MOVED_MS 2000

static void path_of(const struct master *m, struct str *path)
{
    str_printf(path, "%s/clock", m->conf->data_dir);
}

static bool boot_id(char id_r[64])
{
    struct str text = {0};
    bool good = file_read_all(BOOT_ID, 64, &text) == 0 && sscanf(text.data, "%63s", id_r) == 1;

    str_free(&text);
    return good;
}

static bool known_read(const struct master *m, struct clock_known *known_r)
{
    struct str path = {0}, text = {0};
    char id[64], ours[64];
    bool good;

    path_of(m, &path);
    good = file_read_all(path.data, FILE_MAX, &text) == 0 && text.data && boot_id(ours) &&
           sscanf(text.data, "%63s %" SCNd64 " %" SCNu64, id, &known_r->offset_ms,
                  &known_r->since_ms) == 3 &&
           strcmp(id, ours) == 0 && known_r->since_ms <= clock_boot_ms();
    str_free(&path);
    str_free(&text);
    return good;
}

/* Where it cannot be written (a full or read-only disk) a restart only knows less. */
static void known_write(struct master *m)
{
    struct str path = {0}, text = {0};
    struct clock_known known;
    char id[64];

    clock_watch_known(&known);
    path_of(m, &path);
    if (boot_id(id)) {
        str_printf(&text, "%s %" PRId64 " %" PRIu64 "\n", id, known.offset_ms, known.since_ms);
        if (file_replace(path.data, text.data, text.len, 0640, m->uid, m->gid) != 0)
            log_debug("cannot note what is known of the clock", NULL);
    }
    m->clock_noted_ms = known.offset_ms;
    str_free(&path);
    str_free(&text);
}

static void look(struct master *m)
{
    int64_t by_ms = clock_watch_look_ms(), moved;
    struct clock_known known;

    if (by_ms != 0) {
        recent_shift(m->recent, by_ms);
        log_warn("the wall clock jumped: nothing is deleted by age before it has been steady for "
                 "that long",
                 "seconds=%" PRId64, by_ms / 1000);
    }
    clock_watch_known(&known);
    moved = known.offset_ms - m->clock_noted_ms;
    if (by_ms != 0 || moved > MOVED_MS || moved < -MOVED_MS)
        known_write(m);
}

static void look_due(struct loop_timer *timer)
{
    struct master *m = CONTAINER_OF(timer, struct master, clock_timer);

    look(m);
    loop_timer_set(m->loop, timer, LOOK_MS);
}

int clock_watch_start(struct master *m)
{
    struct clock_known known;
    int err = clock_watch_begin(known_read(m, &known) ? &known : NULL);

    if (err != 0)
        return err;
    look(m);
    known_write(m);
    m->clock_timer.fire = look_due;
    loop_timer_set(m->loop, &m->clock_timer, LOOK_MS);
    return 0;
}
