#include "check.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static char directory[64];

static int setup(void **state)
{
    (void)state;
    return check_directory(directory);
}

static int teardown(void **state)
{
    (void)state;
    check_remove(directory);
    return 0;
}

static char *below(const char *name, char out[200])
{
    snprintf(out, 200, "%s/%s", directory, name);
    return out;
}

static void put(const char *path, const void *data, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(file_write_full(fd, data, len), 0);
    close(fd);
}

static mode_t mode_of(const char *name)
{
    char path[200];
    struct stat st;

    assert_int_equal(stat(below(name, path), &st), 0);
    return st.st_mode & 07777;
}

static void test_mkdir_open_makes_what_is_missing(void **state)
{
    char path[200];
    struct stat st, opened;
    mode_t old = umask(0777);
    int fd = -1, err = file_mkdir_open(below("a/", path), 0750, getuid(), getgid(), &fd);

    (void)state;
    assert_int_equal(err, 0);
    close(fd);
    err = file_mkdir_open(below("a//b/", path), 0750, getuid(), getgid(), &fd);
    umask(old);
    assert_int_equal(err, 0);
    assert_int_equal(mode_of("a"), 0750);
    assert_int_equal(mode_of("a/b"), 0750);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(fstat(fd, &opened), 0);
    assert_int_equal(opened.st_ino, st.st_ino);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void test_mkdir_open_makes_nothing_above(void **state)
{
    char path[200];
    int fd = -1;

    (void)state;
    errno = 0;
    assert_int_equal(file_mkdir_open(below("a/b", path), 0750, (uid_t)-1, (gid_t)-1, &fd),
                     ERR_NOT_FOUND);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(access(below("a", path), F_OK), -1);
}

static void test_mkdir_open_leaves_what_is_there(void **state)
{
    char path[200];
    int fd = -1;

    (void)state;
    assert_int_equal(mkdir(below("a", path), 0700), 0);
    assert_int_equal(file_mkdir_open(below("a/b", path), 0755, (uid_t)-1, (gid_t)-1, &fd), 0);
    assert_int_equal(mode_of("a"), 0700);
    assert_int_equal(mode_of("a/b"), 0755);
    close(fd);
}

static void test_mkdir_open_gives_it_to_its_owner(void **state)
{
    char path[200];
    struct stat st;
    int fd = -1;

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(mkdir(below("a", path), 0700), 0);
    assert_int_equal(file_mkdir_open(below("a/b", path), 0700, 1234, 4321, &fd), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_uid, 1234);
    assert_int_equal(st.st_gid, 4321);
    assert_int_equal(stat(below("a", path), &st), 0);
    assert_int_equal(st.st_uid, 0);
    close(fd);
}

static void test_mkdir_open_relative(void **state)
{
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;

    (void)state;
    assert_int_equal(chdir(directory), 0);
    assert_int_equal(mkdir("x", 0700), 0);
    assert_int_equal(file_mkdir_open("x/y", 0700, (uid_t)-1, (gid_t)-1, &fd), 0);
    assert_int_equal(fchdir(here), 0);
    assert_int_equal(mode_of("x/y"), 0700);
    close(fd);
    close(here);
}

static void test_mkdir_open_through_a_file(void **state)
{
    char path[200];
    int fd = -1;

    (void)state;
    put(below("plain", path), "x", 1);
    assert_int_equal(file_mkdir_open(below("plain", path), 0700, (uid_t)-1, (gid_t)-1, &fd),
                     ERR_IO);
    assert_int_equal(file_mkdir_open(below("plain/b", path), 0700, (uid_t)-1, (gid_t)-1, &fd),
                     ERR_IO);
    assert_int_equal(fd, -1);
}

static void test_mkdirat(void **state)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), first, again;
    mode_t old = umask(0777);

    (void)state;
    first = file_mkdirat(fd, "d", 0770, (uid_t)-1, (gid_t)-1);
    again = file_mkdirat(fd, "d", 0700, (uid_t)-1, (gid_t)-1); /* content; and the mode stays */
    umask(old);
    assert_int_equal(first, 0);
    assert_int_equal(again, 0);
    assert_int_equal(mode_of("d"), 0770);
    assert_int_equal(file_mkdirat(fd, "none/d", 0700, (uid_t)-1, (gid_t)-1), ERR_NOT_FOUND);
    close(fd);
}

static void test_read_all(void **state)
{
    static char data[200000];
    struct str s = {0};
    char path[200];

    (void)state;
    memset(data, 'z', sizeof(data));
    put(below("f", path), data, sizeof(data));
    str_puts(&s, "head");
    assert_int_equal(file_read_all(path, sizeof(data), &s), 0); /* to the byte */
    assert_int_equal(s.len, sizeof(data) + 4);
    assert_memory_equal(s.data, "headzzz", 7);
    assert_memory_equal(s.data + 4, data, sizeof(data));
    str_reset(&s);
    assert_int_equal(file_read_all(path, sizeof(data) - 1, &s), ERR_TOO_BIG);
    assert_true(s.len < sizeof(data));
    assert_int_equal(file_read_all(below("none", path), 10, &s), ERR_NOT_FOUND);
    assert_int_equal(file_read_all(directory, 10, &s), ERR_IO);
    put(below("empty", path), "", 0);
    str_reset(&s);
    assert_int_equal(file_read_all(path, 0, &s), 0);
    assert_int_equal(s.len, 0);
    str_free(&s);
}

static void test_pread_full(void **state)
{
    char path[200], data[8] = "";
    int fd;

    (void)state;
    put(below("f", path), "0123456789", 10);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_pread_full(fd, data, 4, 6), 0);
    assert_memory_equal(data, "6789", 4);
    assert_int_equal(file_pread_full(fd, data, 5, 6), ERR_IO);
    assert_int_equal(file_pread_full(fd, data, 1, 10), ERR_IO);
    assert_int_equal(file_pread_full(fd, data, 0, 10), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0); /* the offset of the file is left alone */
    close(fd);
}

static void test_full_disk(void **state)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(file_write_full(fd, "x", 1), ERR_NO_SPACE);
    assert_int_equal(file_write_full(fd, "x", 0), 0);
    close(fd);
}

static void test_free_bytes(void **state)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        proc = open("/proc", O_RDONLY | O_CLOEXEC);
    struct statvfs vfs;
    uint64_t bytes = 0;

    (void)state;
    assert_int_equal(file_free_bytes(fd, &bytes), 0);
    assert_int_equal(fstatvfs(fd, &vfs), 0);
    assert_in_range(bytes, 4096, (uint64_t)vfs.f_blocks * vfs.f_frsize);
    assert_int_equal(file_free_bytes(proc, &bytes), 0);
    assert_int_equal(bytes, 0);
    assert_int_equal(file_free_bytes(-1, &bytes), ERR_UNAVAILABLE);
    close(fd);
    close(proc);
}

static void test_replace(void **state)
{
    struct str content = {0};
    struct stat st;
    DIR *listing;
    size_t count = 0;
    char path[300];
    int dir;

    (void)state;
    dir = open(directory, O_RDONLY | O_DIRECTORY);
    snprintf(path, sizeof(path), "%s/file", directory);
    assert_int_equal(file_replace_at(dir, "file", "one", 3, 0644), 0);
    assert_int_equal(symlinkat("file", dir, "link"), 0);
    assert_int_equal(file_replace_at(dir, "link", "two", 3, 0600), 0);
    assert_int_equal(fstatat(dir, "link", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0600);
    assert_int_equal(file_read_all(path, 10, &content), 0); /* not through the link */
    assert_string_equal(content.data, "one");
    assert_int_equal(file_replace_at(dir, "file", "three", 5, 0644), 0);
    str_reset(&content);
    assert_int_equal(file_read_all(path, 10, &content), 0);
    assert_string_equal(content.data, "three");
    assert_int_equal(mkdirat(dir, "busy", 0755), 0);
    assert_int_not_equal(file_replace_at(dir, "busy", "x", 1, 0644), 0);
    listing = fdopendir(dir);
    for (struct dirent *e; (e = readdir(listing)) != NULL;)
        count += e->d_name[0] != '.' || e->d_name[1] == 'n';
    assert_int_equal(count, 3); /* no temporary file stays */
    closedir(listing);
    str_free(&content);
}

static void test_memfd_is_sealed(void **state)
{
    char data[16];
    int fd = -1;

    (void)state;
    assert_int_equal(file_memfd_sealed("secret", "0123456789", 10, &fd), 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(read(fd, data, sizeof(data)), 10); /* from offset 0 */
    assert_memory_equal(data, "0123456789", 10);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(ftruncate(fd, 100), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1); /* nor can seals change */
    assert_ptr_equal(mmap(NULL, 10, PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    close(fd);
    assert_int_equal(file_memfd_sealed("empty", NULL, 0, &fd), 0);
    assert_int_equal(read(fd, data, sizeof(data)), 0);
    close(fd);
}

static void test_random_hex(void **state)
{
    char one[129], two[129], none[1] = "x";

    (void)state;
    memset(one, 'x', sizeof(one));
    file_random_hex(64, one);
    file_random_hex(64, two);
    assert_int_equal(strlen(one), 128);
    assert_int_equal(strspn(one, "0123456789abcdef"), 128);
    assert_string_not_equal(one, two);
    file_random_hex(0, none);
    assert_string_equal(none, "");
}

#define in_directory(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_directory(test_mkdir_open_makes_what_is_missing),
        in_directory(test_mkdir_open_makes_nothing_above),
        in_directory(test_mkdir_open_leaves_what_is_there),
        in_directory(test_mkdir_open_gives_it_to_its_owner),
        in_directory(test_mkdir_open_relative),
        in_directory(test_mkdir_open_through_a_file),
        in_directory(test_mkdirat),
        in_directory(test_read_all),
        in_directory(test_pread_full),
        cmocka_unit_test(test_full_disk),
        in_directory(test_free_bytes),
        in_directory(test_replace),
        cmocka_unit_test(test_memfd_is_sealed),
        cmocka_unit_test(test_random_hex),
    };

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
