#include "check.h"

#include "http/io.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FILE_BYTES (3u << 20)
#define TMPFS      0x01021994

/* A file of the page cache, and then of the disk alone. */
static void what_lies_in_memory(void **state)
{
    char path[] = "/var/tmp/entrepot-unit-XXXXXX", byte;
    char *data = calloc(1, FILE_BYTES);
    int fd = mkstemp(path);
    struct statfs fs;

    (void)state;
    assert_true(fd >= 0 && data);
    unlink(path);
    assert_int_equal(write(fd, data, FILE_BYTES), FILE_BYTES);
    assert_int_equal(fsync(fd), 0);
    assert_true(io_file_in_memory(fd, 0, FILE_BYTES));
    assert_true(io_file_in_memory(fd, 4095, 1));
    assert_true(io_file_in_memory(fd, FILE_BYTES - 1, 1));
    assert_int_equal(fstatfs(fd, &fs), 0);
    if (fs.f_type != TMPFS) {
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0); /* no reading ahead */
        assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
        assert_false(io_file_in_memory(fd, 0, FILE_BYTES));
        assert_false(io_file_in_memory(fd, FILE_BYTES - 1, 1));
        assert_int_equal(pread(fd, &byte, 1, 1 << 20), 1);
        assert_true(io_file_in_memory(fd, 1 << 20, 100));
        assert_false(io_file_in_memory(fd, 1 << 20, 1 << 20));
    }
    close(fd);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_lies_in_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
