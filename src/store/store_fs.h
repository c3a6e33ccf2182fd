/*
 * store_fs.h - a blob store that is a directory, for the files of this room alone.
 *
 * Blobs appear by rename of a synced file and disappear by rename or unlink (layout.h).
 */
#ifndef ENTREPOT_STORE_STORE_FS_H
#define ENTREPOT_STORE_STORE_FS_H

#include "store/store.h"

struct store {
    const struct conf_store *conf;
    int dir_fd;  /* -1: not open */
    int lock_fd; /* store_lock(); -1 */
    int told;    /* store_try(): errno of what was told last */
    char id[33]; /* "": not opened as bound */
};

/* The last steps of whatever is committed: sync the file, rename `from` (relative to the store) to
 * its digest's place, sync that directory. Blocks. */
must_check int store_blob_place(const struct store *store, int fd, const char *from,
                                const struct digest *digest);
/* Does a directory hold anything below blobs/? */
bool store_dir_has_blobs(int dir_fd);

#endif
