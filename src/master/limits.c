/*
 * limits.c - what the limit of open files leaves for connections.
 *
 * Runs in the master, before it forks: the limit itself is inherited, what follows from it stands
 * in the configuration in force. A crash here is a start that fails.
 */
#include "base/descriptors.h"
#include "base/log.h"
#include "master/master.h"

/* Busy connections of one address leave places for others; a house behind one address, or a proxy
 * that is not named, has enough. */
#define SHARES 4

void limits_fit(struct conf *conf)
{
    uint64_t limit = descriptors_raise();
    uint64_t fits = descriptors_connections(limit, conf->connector_count + conf->store_count);

    if (conf->max_connections > fits) {
        log_warn("max_connections is more than the limit of open files leaves room for: fewer are "
                 "used; raise the hard limit (LimitNOFILE= of the unit, ulimit -Hn) or lower it",
                 "max_connections=%llu used=%llu open_files=%llu",
                 (unsigned long long)conf->max_connections, (unsigned long long)fits,
                 (unsigned long long)limit);
        conf->max_connections = fits;
    }
    if (conf->max_connections_per_address == 0)
        conf->max_connections_per_address = (conf->max_connections + SHARES - 1) / SHARES;
}
