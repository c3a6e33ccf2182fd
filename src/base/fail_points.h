/*
 * fail_points.h - places where a test may kill, hold or fail a process: one
 * table. See fail.h.
 */
#ifndef ENTREPOT_BASE_FAIL_POINTS_H
#define ENTREPOT_BASE_FAIL_POINTS_H

/* X(name): ROOM_WHERE. What stands behind is what has happened so far. */
#define FAIL_POINTS(X)                                                                             \
    /* master */                                                                                   \
    X(master_fork)     /* about to start a process */                                              \
    X(master_reload)   /* a new configuration is good and not yet in force */                      \
    X(master_replaced) /* it is in force, its processes start */                                   \
    /* worker */                                                                                   \
    X(worker_upload_created) /* a session's file is there; nobody was told */                      \
    X(worker_upload_write)   /* error: instead of writing */                                       \
    X(worker_upload_written) /* a piece of the body is in the file */                              \
    X(worker_upload_rewind)  /* what is known of the hash counts no more, the bytes are there */   \
    X(worker_commit_asked)   /* the catalog was asked to link it */                                \
    X(worker_commit_done)    /* the catalog has; the client does not know */                       \
    X(worker_manifest_asked) /* the catalog was asked */                                           \
    X(worker_manifest_done)  /* it has it; the client does not know */                             \
    X(worker_list_more)   /* a slice of a list is here, the catalog was not asked for the next */  \
    X(worker_blob_marked) /* somebody's question for a blob is marked, nobody looked for it */     \
    X(worker_blob_open)   /* error: instead of opening a blob */                                   \
    X(worker_accept)      /* error: instead of accepting */                                        \
    /* store, in workers and in the fetcher: a file gets its name */                               \
    X(store_place_sync)    /* error: instead of fdatasync */                                       \
    X(store_place_synced)  /* the bytes are durable under a name of no meaning */                  \
    X(store_place_renamed) /* the file has its name, the directory is not synced */                \
    X(store_place_done)    /* durable; nobody was told */                                          \
    /* fetcher */                                                                                  \
    X(fetcher_slot)     /* error: instead of a free place on the board */                          \
    X(fetcher_opened)   /* a download's file is there, the upstream was not asked */               \
    X(fetcher_head)     /* the upstream answers; nobody was told */                                \
    X(fetcher_write)    /* error: instead of writing */                                            \
    X(fetcher_written)  /* a piece is in the file */                                               \
    X(fetcher_received) /* all is there, all but the last byte was told; nothing is verified */    \
    X(fetcher_verified) /* the digest is good; nobody was told */                                  \
    X(fetcher_placed)   /* durable under its digest; the catalog was not told */                   \
    X(fetcher_commit_asked) /* the catalog was asked to link it */                                 \
    X(fetcher_committed)    /* it has; nobody was told */                                          \
    X(fetcher_manifest)     /* a manifest is durable; the catalog was not told */                  \
    /* catalog */                                                                                  \
    X(catalog_held_written)    /* a repository is in the list of those that hold, or left it */    \
    X(catalog_turn_begun)      /* operations were applied, nothing is written */                   \
    X(catalog_turn_tombstones) /* what goes is invisible already */                                \
    X(catalog_turn_write)      /* error: instead of writing */                                     \
    X(catalog_turn_written)    /* durable; not visible, nobody was told */                         \
    X(catalog_turn_shown)      /* visible; nobody was told */                                      \
    X(catalog_turn_answered)   /* everybody was told */                                            \
    X(catalog_file_here)       /* about to ask what the kernel knows of a push's file by heart */  \
    X(catalog_file_looked)  /* the files that questions need were looked at; none was applied */   \
    X(catalog_index_filled) /* a new index is complete and nobody has it */                        \
    X(catalog_index_kept)   /* the master has it */                                                \
    X(catalog_index_handed) /* everybody has it, the old one counts still */                       \
    X(catalog_gc_judged)    /* a link is garbage, and visible */                                   \
    X(catalog_gc_killed)    /* it is invisible; last look whether somebody asked for it */         \
    X(catalog_gc_written)   /* records are gone, files are there */                                \
    X(catalog_gc_aside)     /* a file is in the trash */                                           \
    X(catalog_drop_written) /* a slice of a repository that is dropped is gone, files are there */ \
    X(catalog_gc_emptied)   /* the trash was looked through */                                     \
    X(catalog_identity_recorded) /* the database has its identity, its file has not */             \
    X(catalog_store_bound)       /* a new store says whose it is, and is not on record */          \
    X(catalog_store_recorded)    /* it is, the file beside the database does not say it */         \
    X(catalog_scrub_open)        /* error: instead of opening a blob to look at it */              \
    X(catalog_scrub_read)        /* error: instead of reading it */                                \
    X(catalog_damage_noted)      /* a damaged blob is hidden, its file is in its place */          \
    X(catalog_quarantine)        /* its file has been put aside */                                 \
    X(catalog_journal_write)     /* error: instead of writing a store's journal */                 \
    X(catalog_journal_appended)  /* a turn's lines are in it, not synced */                        \
    X(catalog_journal_made)      /* it was written anew and is not in its place */                 \
    X(catalog_journal_placed)    /* it is, its directory is not synced */                          \
    X(catalog_survey)            /* error: instead of looking through a store's open uploads */    \
    /* auth */                                                                                     \
    X(auth_verified) /* a password was compared; nobody was told, and users may change */          \
    /* entrepotctl */                                                                              \
    X(repo_move_put)      /* a blob is in the new store, its records wait for the batch */         \
    X(repo_move_copied)   /* all are noted in the new store, the old one counts */                 \
    X(repo_move_switched) /* the new one counts, the old one is not cleared */                     \
    X(repo_move_journal)  /* a store's journal says so, others do not yet */                       \
    X(fsck_copied)        /* the running daemon's database was copied, nothing was looked at */    \
    X(rebuild_made)       /* a new database is complete beside the damaged one */                  \
    X(rebuild_aside)      /* the damaged one is aside, there is none in its place */               \
    X(rebuild_placed)     /* the new one is; the journals are as they were */                      \
    X(fsck_suspects)      /* some blobs looked odd; before the second look */

enum fail_point_id {
#define X(name) FAIL_POINT_##name,
    FAIL_POINTS(X)
#undef X
        FAIL_POINT_COUNT
};

#endif
