/* A blob store at a path, made and open. */
#ifndef CHECK_STORE_H
#define CHECK_STORE_H

#include "store/store.h"

static inline struct store *check_store(char *path)
{
    static char name[] = "main";
    static struct conf_store conf;
    struct store *store;

    conf = (struct conf_store){.name = name, .path = path};
    store = store_new(&conf);
    assert_int_equal(store_make(&conf, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(store_open(store, STORE_WRITE), 0);
    return store;
}

#endif
