/* Prints a database, a line a record: key and value in hexadecimal. For test_rebuild.py. */
#include <leveldb/c.h>
#include <stdio.h>

static void hex(const char *data, size_t len, char end)
{
    for (size_t i = 0; i < len; i++)
        printf("%02x", (unsigned char)data[i]);
    putchar(end);
}

int main(int argc, char **argv)
{
    leveldb_options_t *options = leveldb_options_create();
    leveldb_readoptions_t *plain = leveldb_readoptions_create();
    char *error = NULL;
    leveldb_t *db = argc == 2 ? leveldb_open(options, argv[1], &error) : NULL;
    leveldb_iterator_t *at;

    if (!db) {
        fprintf(stderr, "%s\n", error ? error : "usage: dump_database DATABASE");
        return 1;
    }
    at = leveldb_create_iterator(db, plain);
    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at); leveldb_iter_next(at)) {
        size_t key_len, value_len;
        const char *key = leveldb_iter_key(at, &key_len);
        const char *value = leveldb_iter_value(at, &value_len);

        hex(key, key_len, ' ');
        hex(value, value_len, '\n');
    }
    leveldb_iter_destroy(at);
    leveldb_close(db);
    return 0;
}
