#include "check.h"

#include "base/log.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64], log_file[128];

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    snprintf(log_file, sizeof(log_file), "%s/log", directory);
    assert_int_equal(log_open(log_file), 0);
    log_identity("worker", 3);
    log_threshold(LOG_LEVEL_INFO);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_int_equal(log_open("stderr"), 0);
    check_remove(directory);
    return 0;
}

/* What the file at `path` holds, NUL-terminated. */
static size_t content(const char *path, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    size_t len;

    assert_non_null(f);
    len = fread(out, 1, cap - 1, f);
    out[len] = 0;
    fclose(f);
    return len;
}

static void test_line(void **state)
{
    char text[1000], expected[200];
    int year, month, day, hour, minute, second, ms, end = 0;

    (void)state;
    log_notice("ready", "path=%s n=%d", log_quote("a b"), 7);
    content(log_file, text, sizeof(text));
    assert_int_equal(sscanf(text, "time=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n", &year, &month, &day,
                            &hour, &minute, &second, &ms, &end),
                     7);
    snprintf(expected, sizeof(expected),
             "level=notice role=worker slot=3 pid=%d msg=\"ready\" path=\"a b\" n=7\n",
             (int)getpid());
    assert_string_equal(text + end, expected);
}

static void test_threshold(void **state)
{
    char text[4000];

    (void)state;
    log_debug("one", NULL);
    log_info("two", NULL);
    log_threshold(LOG_LEVEL_WARN);
    log_notice("three", NULL);
    log_error("four", NULL);
    content(log_file, text, sizeof(text));
    assert_null(strstr(text, "one"));
    assert_non_null(strstr(text, "level=info "));
    assert_null(strstr(text, "three"));
    assert_non_null(strstr(text, "level=error "));
    assert_non_null(strstr(text, "msg=\"four\"\n")); /* no fields, no trailing space */
}

/* However long the fields: one line of at most 4096 bytes, ended by its newline. */
static void test_long_line_is_cut(void **state)
{
    static char fields[10000], text[20000];

    (void)state;
    memset(fields, 'x', sizeof(fields) - 1);
    log_info("long", "f=%s", fields);
    assert_int_equal(content(log_file, text, sizeof(text)), 4096);
    assert_ptr_equal(strchr(text, '\n'), text + 4095);
    log_info("next", NULL);
    content(log_file, text, sizeof(text));
    assert_memory_equal(text + 4096, "time=", 5);
}

/* Also when the disk is full, which is nobody's business here. */
static void test_errno_survives(void **state)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

    (void)state;
    assert_true(full >= 0);
    assert_int_equal(dup2(full, log_fd()), log_fd());
    errno = EXDEV;
    log_info("x", "y=%d", 1);
    assert_int_equal(errno, EXDEV);
    close(full);
}

/* Other processes write to the file too, and some rotate it by truncation. */
static void test_lines_go_to_the_end(void **state)
{
    char text[1000];

    (void)state;
    log_info("first", NULL);
    assert_int_equal(truncate(log_file, 0), 0);
    log_info("second", NULL);
    content(log_file, text, sizeof(text));
    assert_memory_equal(text, "time=", 5);
    assert_non_null(strstr(text, "second"));
}

/* A seqpacket socket put in the place of the file keeps apart what was written apart. */
static void test_one_write_a_line(void **state)
{
    char text[5000];
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    assert_int_equal(dup2(ends[0], log_fd()), log_fd());
    log_info("first", "a=%s", log_quote("b c"));
    log_info("second", NULL);
    for (int i = 0; i < 2; i++) {
        ssize_t len = recv(ends[1], text, sizeof(text) - 1, MSG_DONTWAIT);

        assert_true(len > 0);
        text[len] = 0;
        assert_memory_equal(text, "time=", 5);
        assert_non_null(strstr(text, i == 0 ? "msg=\"first\"" : "msg=\"second\""));
        assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    }
    close(ends[0]);
    close(ends[1]);
}

static void test_reopen_after_rotation(void **state)
{
    char moved[140], text[1000];
    struct stat st;

    (void)state;
    snprintf(moved, sizeof(moved), "%s.1", log_file);
    log_info("before", NULL);
    assert_int_equal(rename(log_file, moved), 0);
    log_info("between", NULL); /* still the old file */
    assert_int_equal(log_reopen(), 0);
    log_info("behind", NULL);
    content(moved, text, sizeof(text));
    assert_non_null(strstr(text, "before"));
    assert_non_null(strstr(text, "between"));
    content(log_file, text, sizeof(text));
    assert_non_null(strstr(text, "behind"));
    assert_null(strstr(text, "between"));
    assert_int_equal(stat(log_file, &st), 0);
    assert_int_equal(st.st_mode & 07, 0); /* not for the world */
    assert_true(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC);
}

static void test_open_that_fails_changes_nothing(void **state)
{
    char missing[140], link[140], text[1000];
    int fd = log_fd();

    (void)state;
    snprintf(missing, sizeof(missing), "%s/none/log", directory);
    snprintf(link, sizeof(link), "%s/link", directory);
    assert_int_equal(symlink(log_file, link), 0);
    assert_int_equal(log_open(missing), ERR_NOT_FOUND);
    assert_int_equal(log_open(link), ERR_IO); /* a symbolic link is not followed */
    assert_int_equal(log_fd(), fd);
    log_info("still here", NULL);
    content(log_file, text, sizeof(text));
    assert_non_null(strstr(text, "still here"));
}

static void test_quote(void **state)
{
    (void)state;
    assert_string_equal(log_quote("plain-1.2/x:y"), "plain-1.2/x:y");
    assert_string_equal(log_quote(NULL), "-");
    assert_string_equal(log_quote(""), "\"\"");
    assert_string_equal(log_quote("a=b"), "\"a=b\"");
    assert_string_equal(log_quote("a\" level=error\n\t\x7f\xff\\"),
                        "\"a\\\" level=error\\n\\x09\\x7f\\xff\\\\\"");
}

static void test_quote_rotates_eight_buffers(void **state)
{
    const char *kept[8];
    char text[2] = "a";

    (void)state;
    for (int i = 0; i < 8; i++, text[0]++)
        kept[i] = log_quote(text);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(kept[i][0], 'a' + i);
        assert_int_equal(kept[i][1], 0);
    }
}

/* The same text quoted by the unbounded function is the measure: what fits in
 * 511 bytes is whole; what does not is a head of it that ends between escapes. */
static void test_quote_is_cut_between_escapes(void **state)
{
    char text[600];

    (void)state;
    for (int lead = 0; lead < 5; lead++) {
        for (size_t len = 1; len < sizeof(text) - 1; len++) {
            struct str whole = {0};
            const char *cut;
            size_t head;

            memset(text, 'x', (size_t)lead);
            memset(text + lead, '\x01', len > 200 ? 200 : len);
            text[lead + (int)(len > 200 ? 200 : len)] = 0;
            log_append_value(&whole, text);
            cut = log_quote(text);
            assert_true(strlen(cut) < 512);
            if (whole.len < 512) {
                assert_string_equal(cut, whole.data);
            } else {
                head = strlen(cut) - 4;
                assert_string_equal(cut + head, "...\"");
                assert_memory_equal(cut, whole.data, head);
                assert_int_equal((head - 1 - (size_t)lead) % 4, 0); /* \xNN whole */
                assert_true(head + 4 + 4 >= 512);                   /* not one more fits */
            }
            str_free(&whole);
            if (len > 200)
                break;
        }
    }
}

static void test_bare_cut(void **state)
{
    char text[600];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[511] = 0;
    assert_string_equal(log_quote(text), text); /* fits to the byte */
    text[511] = 'x';
    text[512] = 0;
    assert_int_equal(strlen(log_quote(text)), 511);
    assert_string_equal(log_quote(text) + 507, "x...");
}

static void child_fails_a_must(void)
{
    int sum = 1;

    MUST(sum + 1 == 3);
}

static void *volatile sink;

/* No memory is left: the line must come all the same. */
static void child_has_no_memory(void)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_AS, &none);
#ifndef __SANITIZE_ADDRESS__ /* whose malloc() ends the process */
    for (size_t size = 1 << 20; size > 0; size /= 2)
        while ((sink = malloc(size)) != NULL)
            ;
#endif
    child_fails_a_must();
}

static void expect_abort(void (*child)(void))
{
    char text[1000];
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0, 0};

        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        child();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    content(log_file, text, sizeof(text));
    assert_non_null(strstr(text, "level=error "));
    assert_non_null(strstr(text, "assertion=\"sum + 1 == 3\" file="));
}

static void test_must_logs_and_aborts(void **state)
{
    (void)state;
    expect_abort(child_fails_a_must);
}

static void test_must_needs_no_memory(void **state)
{
    (void)state;
    check_not_under_valgrind();
    expect_abort(child_has_no_memory);
}

static void test_err_texts(void **state)
{
    (void)state;
    assert_string_equal(err_text(0), "success");
    assert_string_equal(err_text(ERR_INVALID), "invalid input");
    assert_string_equal(err_text(ERR_UNAVAILABLE), "temporarily unavailable");
    assert_string_equal(err_text(-ERR_ORDINAL_COUNT - 1), "unknown error");
    assert_string_equal(err_text(1), "unknown error");
    assert_string_equal(err_text(INT_MIN), "unknown error");
    assert_int_equal(err_from_errno(EDQUOT), ERR_NO_SPACE);
    assert_int_equal(err_from_errno(EROFS), ERR_READ_ONLY);
    assert_int_equal(err_from_errno(EACCES), ERR_NO_ACCESS);
    assert_int_equal(err_from_errno(EMFILE), ERR_NO_FILES);
    assert_int_equal(err_from_errno(EPIPE), ERR_IO);
}

#define in_directory(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_directory(test_line),
        in_directory(test_threshold),
        in_directory(test_long_line_is_cut),
        in_directory(test_errno_survives),
        in_directory(test_lines_go_to_the_end),
        in_directory(test_one_write_a_line),
        in_directory(test_reopen_after_rotation),
        in_directory(test_open_that_fails_changes_nothing),
        cmocka_unit_test(test_quote),
        cmocka_unit_test(test_quote_rotates_eight_buffers),
        cmocka_unit_test(test_quote_is_cut_between_escapes),
        cmocka_unit_test(test_bare_cut),
        in_directory(test_must_logs_and_aborts),
        in_directory(test_must_needs_no_memory),
        cmocka_unit_test(test_err_texts),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
