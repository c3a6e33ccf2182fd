#include "check.h"

#include "api/credentials.h"
#include "auth/htpasswd.h"
#include "auth/robots.h"
#include "base/base64.h"
#include "base/file.h"
#include "base/sign.h"
#include "conf/conf.h"
#include "ipc/msg_auth.h"
#include "oci/scope.h"
#include "oci/token.h"
#include "shm/throttle.h"

#include <crypt.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#define HASH "$2b$04$cXVlcnR5dWlvcGFzZGZnaOpb0.Yx3xVTQSz2a0OhGXpWYhYhDYdzG"

static void test_base64(void **state)
{
    static const struct {
        const char *text;
        int err;
        const char *data;
    } cases[] = {
        {"", 0, ""},
        {"Zg==", 0, "f"},
        {"Zm8=", 0, "fo"},
        {"Zm9v", 0, "foo"},
        {"Zm9vYg==", 0, "foob"},
        {"Zg", ERR_INVALID, NULL},   /* padding is wanted */
        {"Zg=", ERR_INVALID, NULL},  /* all of it */
        {"Zh==", ERR_INVALID, NULL}, /* bits are left over */
        {"Zg===", ERR_INVALID, NULL},
        {"Zm 9", ERR_INVALID, NULL},
        {"Zm-_", ERR_INVALID, NULL},
        {"=", ERR_INVALID, NULL},
        {"====", ERR_INVALID, NULL},
        {"Zm9vYmFyYmF6", ERR_TOO_BIG, NULL},
    };
    struct str s = {0};
    char out[8];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(
            base64_decode(cases[i].text, strlen(cases[i].text), out, sizeof(out), &len),
            cases[i].err);
        if (cases[i].err == 0) {
            assert_int_equal(len, strlen(cases[i].data));
            assert_memory_equal(out, cases[i].data, len);
        }
    }
    base64url_append(&s,
                     "\xfb\xff\xfe"
                     "f",
                     4);
    assert_string_equal(s.data, "-__-Zg");
    assert_int_equal(base64url_decode(s.data, s.len, out, sizeof(out), &len), 0);
    assert_int_equal(len, 4);
    assert_memory_equal(out,
                        "\xfb\xff\xfe"
                        "f",
                        4);
    str_free(&s);
}

static void test_passwords(void **state)
{
    char hash[HTPASSWD_HASH_MAX], long_one[74] = "";

    (void)state;
    assert_int_equal(htpasswd_hash("secret", 4, hash), 0);
    assert_true(htpasswd_verify(hash, "secret"));
    assert_false(htpasswd_verify(hash, "secreT"));
    assert_false(htpasswd_verify(hash, ""));
    assert_false(htpasswd_verify("*0", "*0"));
    hash[2] = 'y';
    assert_true(htpasswd_verify(hash, "secret"));
    memset(long_one, 'x', 73);
    assert_int_equal(htpasswd_hash(long_one, 4, hash), ERR_TOO_BIG);
}

/* Instead of libcrypt's, which it calls: what is asked of it is counted in rounds. */
static unsigned long rounds;

char *crypt_r(const char *phrase, const char *setting, struct crypt_data *data)
{
    char *(*real)(const char *, const char *, struct crypt_data *);

    *(void **)&real = dlsym(RTLD_NEXT, "crypt_r");
    rounds += 1UL << strtoul(setting + 4, NULL, 10);
    return real(phrase, setting, data);
}

/* Nobody, a user with a cheap hash and one with a dear one: a wrong password takes the same. */
static void test_time_tells_nothing(void **state)
{
    static const int costs[] = {4, 5, 8};
    char hashes[3][HTPASSWD_HASH_MAX];
    struct str text = {0}, mistakes = {0};
    struct htpasswd *h;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(htpasswd_hash("secret", costs[i], hashes[i]), 0);
        str_printf(&text, "user%zu:%s\n", i, hashes[i]);
    }
    assert_int_equal(htpasswd_parse("f", text.data, text.len, &h, &mistakes), 0);
    assert_int_equal(htpasswd_cost(h), 8);
    for (size_t i = 0; i < 4; i++) {
        rounds = 0;
        assert_false(htpasswd_verify_evenly(i < 3 ? hashes[i] : NULL, 8, "wrong"));
        assert_int_equal(rounds, 1 << 8);
    }
    assert_true(htpasswd_verify_evenly(hashes[0], 8, "secret"));
    htpasswd_free(&h);
    assert_int_equal(htpasswd_parse("f", "", 0, &h, &mistakes), 0);
    assert_int_equal(htpasswd_cost(h), HTPASSWD_COST);
    htpasswd_free(&h);
    str_free(&text);
}

static void parse_says(const char *text, const char *said)
{
    struct htpasswd *h;
    struct str mistakes = {0};
    int err = htpasswd_parse("f", text, strlen(text), &h, &mistakes);

    if (!said) {
        assert_int_equal(err, 0);
        assert_int_equal(mistakes.len, 0);
        htpasswd_free(&h);
    } else {
        assert_int_equal(err, ERR_INVALID);
        assert_null(h);
        if (!strstr(mistakes.data, said))
            fail_msg("%s does not say %s", mistakes.data, said);
    }
    str_free(&mistakes);
}

static void test_users_file(void **state)
{
    struct htpasswd *h;
    struct str mistakes = {0};
    const char *two = "# note\r\n\nb:" HASH "\na:" HASH "\r\n";

    (void)state;
    parse_says("", NULL);
    parse_says("a:" HASH, NULL);
    parse_says("a\n", "f:1: no colon");
    parse_says("\na:$apr1$x$y\n", "f:2: user a: not a bcrypt");
    parse_says("a:$2b$20$cXVlcnR5dWlvcGFzZGZnaOpb0.Yx3xVTQSz2a0OhGXpWYhYhDYdzG", "cost 4 to 15");
    parse_says("a:$2b$03$cXVlcnR5dWlvcGFzZGZnaOpb0.Yx3xVTQSz2a0OhGXpWYhYhDYdzG", "cost 4 to 15");
    parse_says("a:$2x$04$cXVlcnR5dWlvcGFzZGZnaOpb0.Yx3xVTQSz2a0OhGXpWYhYhDYdzG", "f:1: user a");
    parse_says("a:$2b$04$cXVlcnR5dWlvcGFzZGZnaOpb0!Yx3xVTQSz2a0OhGXpWYhYhDYdzG", "f:1: user a");
    assert_int_equal(
        htpasswd_parse("f", "a:" HASH "\n\0", sizeof("a:" HASH "\n\0") - 1, &h, &mistakes),
        ERR_INVALID);
    assert_non_null(strstr(mistakes.data, "a byte 0"));
    str_reset(&mistakes);
    parse_says("a:" HASH "x", "f:1: user a");
    parse_says("a:", "f:1: user a");
    parse_says(":" HASH, "f:1: not a user's name");
    parse_says("a b:" HASH, "f:1: not a user's name");
    parse_says("a:" HASH "\na:" HASH, "user a stands there twice");
    assert_int_equal(htpasswd_parse("f", two, strlen(two), &h, &mistakes), 0);
    assert_int_equal(h->count, 2);
    assert_string_equal(htpasswd_find(h, "a")->hash, HASH);
    assert_string_equal(htpasswd_find(h, "b")->name, "b");
    assert_null(htpasswd_find(h, "c"));
    htpasswd_free(&h);
    assert_int_equal(htpasswd_load("/nonexistent/x", &h, &mistakes), ERR_NOT_FOUND);
    assert_non_null(strstr(mistakes.data, "/nonexistent/x: cannot read it"));
    str_free(&mistakes);
}

/* A line of the robots' file that is none spoils the file. */
static void test_robots_file(void **state)
{
    static const char *const digests[] = {"sha256:", "sha512:"};
    struct str lines[2] = {{0}}, twice = {0}, mistakes = {0};
    struct robots robots;
    char directory[64], path[96];

    (void)state;
    check_directory(directory);
    snprintf(path, sizeof(path), "%s/robots", directory);
    for (size_t i = 0; i < 2; i++) {
        str_printf(&lines[i], "one - 5 0 %s", digests[i]);
        for (size_t n = 0; n < 64 * (i + 1); n++)
            str_putc(&lines[i], 'a');
        str_putc(&lines[i], '\n');
        assert_int_equal(
            file_replace(path, lines[i].data, lines[i].len, 0600, (uid_t)-1, (gid_t)-1), 0);
        assert_int_equal(robots_load(path, &robots, &mistakes), i == 0 ? 0 : ERR_INVALID);
        robots_free(&robots);
    }
    str_printf(&twice, "%s%s", lines[0].data, lines[0].data);
    assert_int_equal(file_replace(path, twice.data, twice.len, 0600, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(robots_load(path, &robots, &mistakes), ERR_INVALID);
    assert_non_null(strstr(mistakes.data, ":2: not a robot's line"));
    unlink(path);
    rmdir(directory);
    str_free(&twice);
    str_free(&lines[0]);
    str_free(&lines[1]);
    str_free(&mistakes);
}

static void test_robots(void **state)
{
    struct robots robots = {0}, again;
    struct str text = {0}, mistakes = {0};
    struct digest digest;
    char directory[64], path[96];

    (void)state;
    check_directory(directory);
    snprintf(path, sizeof(path), "%s/robots", directory);
    assert_int_equal(robots_load(path, &robots, &mistakes), 0);
    digest_of(DIGEST_SHA256, "token", 5, &digest);
    robots_add(&robots, "one", "", 5, 0, &digest);
    robots_add(&robots, "two", "alice", 6, 100, &digest);
    robots_text(&robots, &text);
    assert_int_equal(file_replace(path, text.data, text.len, 0600, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(robots_load(path, &again, &mistakes), 0);
    assert_int_equal(again.count, 2);
    assert_string_equal(robots_find(&again, "two")->user, "alice");
    assert_true(robots_match(robots_find(&again, "one"), "token", UINT64_MAX));
    assert_false(robots_match(robots_find(&again, "one"), "tokeN", 1));
    assert_true(robots_match(robots_find(&again, "two"), "token", 99));
    assert_false(robots_match(robots_find(&again, "two"), "token", 100));
    robots_remove(&again, "one");
    robots_remove(&again, "none");
    assert_null(robots_find(&again, "one"));
    assert_non_null(robots_find(&again, "two"));
    robots_free(&again);
    str_puts(&text, "three words only\n");
    assert_int_equal(file_replace(path, text.data, text.len, 0600, (uid_t)-1, (gid_t)-1), 0);
    assert_int_equal(robots_load(path, &again, &mistakes), ERR_INVALID);
    assert_non_null(strstr(mistakes.data, "robots:3: not a robot's line"));
    assert_int_equal(again.count, 0);
    robots_free(&robots);
    str_free(&text);
    str_free(&mistakes);
    check_remove(directory);
}

static void test_token(void **state)
{
    static const uint8_t secret[SIGN_PRIVATE_BYTES] = {1}, other_secret[SIGN_PRIVATE_BYTES] = {2};
    struct sign_key *key = sign_key_private(secret), *other = sign_key_private(other_secret);
    struct token t = {.user = "alice",
                      .stamp = 0x123456789abcdef0,
                      .epoch = UINT64_MAX,
                      .issued_s = 1000,
                      .expires_s = 1300,
                      .scopes = {{"r:a/b", RIGHT_PULL | RIGHT_PUSH}, {"r:c", RIGHT_ALL}},
                      .scope_count = 2,
                      .catalog = true},
                 got;
    struct mem_arena *arena = mem_arena_new();
    uint8_t public_bytes[SIGN_PUBLIC_BYTES];
    struct sign_key *public_key;
    struct str text = {0};

    (void)state;
    sign_key_publish(key, public_bytes);
    public_key = sign_key_public(public_bytes);
    token_write(&t, key, &text);
    assert_int_equal(token_read(arena, text.data, public_key, 1299, &got), 0);
    assert_string_equal(got.user, "alice");
    assert_true(got.stamp == t.stamp && got.epoch == t.epoch && got.catalog);
    assert_int_equal(got.scope_count, 2);
    assert_string_equal(got.scopes[0].name, "r:a/b");
    assert_int_equal(got.scopes[0].rights, RIGHT_PULL | RIGHT_PUSH);
    assert_int_equal(got.scopes[1].rights, RIGHT_ALL);
    assert_int_equal(token_read(arena, text.data, public_key, 1300, &got), ERR_TIMEOUT);
    assert_int_equal(token_read(arena, text.data, public_key, 900, &got), ERR_TIMEOUT);
    assert_int_equal(token_read(arena, text.data, other, 1100, &got), ERR_DENIED);
    for (size_t i = 0; i < text.len; i++) { /* no byte of it is free to change */
        char was = text.data[i];

        text.data[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(token_read(arena, text.data, public_key, 1100, &got), ERR_DENIED);
        text.data[i] = was;
    }
    while (text.len > 0) {
        text.data[--text.len] = 0;
        assert_int_equal(token_read(arena, text.data, public_key, 1100, &got), ERR_DENIED);
    }
    str_free(&text);
    mem_arena_free(&arena);
    sign_key_free(&key);
    sign_key_free(&other);
    sign_key_free(&public_key);
}

static void test_throttle(void **state)
{
    struct throttle *t;
    uint64_t now = 1000;

    (void)state;
    assert_int_equal(throttle_new(&t), 0);
    for (int i = 0; i < THROTTLE_ADDRESS_MAX; i++) {
        assert_false(throttle_slowed(t, THROTTLE_ADDRESS, "192.0.2.1", now));
        throttle_fail(t, THROTTLE_ADDRESS, "192.0.2.1", now);
    }
    assert_true(throttle_slowed(t, THROTTLE_ADDRESS, "192.0.2.1", now));
    assert_false(throttle_slowed(t, THROTTLE_ADDRESS, "192.0.2.2", now));
    assert_false(throttle_slowed(t, THROTTLE_USER, "192.0.2.1", now));
    for (int i = 0; i < 100; i++) /* counts no higher */
        throttle_fail(t, THROTTLE_ADDRESS, "192.0.2.1", now);
    assert_false(throttle_slowed(t, THROTTLE_ADDRESS, "192.0.2.1", now + THROTTLE_ADDRESS_S));
    for (int i = 0; i < THROTTLE_ADDRESS_MAX; i++)
        throttle_fail(t, THROTTLE_ADDRESS, "2001:db8::1", now);
    assert_true(throttle_slowed(t, THROTTLE_ADDRESS, "2001:db8::ffff:2", now)); /* the same /64 */
    assert_false(throttle_slowed(t, THROTTLE_ADDRESS, "2001:db8:0:1::1", now));
    for (int i = 0; i < THROTTLE_USER_MAX; i++)
        throttle_fail(t, THROTTLE_USER, "alice", now);
    assert_true(throttle_slowed(t, THROTTLE_USER, "alice", now));
    throttle_forget(t, THROTTLE_USER, "alice");
    assert_false(throttle_slowed(t, THROTTLE_USER, "alice", now));
}

static void test_credentials(void **state)
{
    struct mem_arena *arena = mem_arena_new();
    struct credentials c;

    (void)state;
    credentials_parse(NULL, arena, &c);
    assert_int_equal(c.kind, CREDENTIALS_NONE);
    credentials_parse("Basic Og==", arena, &c);
    assert_int_equal(c.kind, CREDENTIALS_NONE);
    credentials_parse("basic  YTpiOmM=", arena, &c);
    assert_int_equal(c.kind, CREDENTIALS_BASIC);
    assert_string_equal(c.user, "a");
    assert_string_equal(c.password, "b:c");
    credentials_parse("BEARER x", arena, &c);
    assert_int_equal(c.kind, CREDENTIALS_BEARER);
    assert_string_equal(c.token, "x");
    credentials_parse("Basic YQ==", arena, &c); /* no colon */
    assert_int_equal(c.kind, CREDENTIALS_BAD);
    credentials_parse("BasicYTpi", arena, &c);
    assert_int_equal(c.kind, CREDENTIALS_BAD);
    mem_arena_free(&arena);
}

static void test_scopes(void **state)
{
    static const struct {
        const char *text;
        int err;
        const char *name;
        unsigned actions;
        bool registry;
    } cases[] = {
        {"repository:a/b:pull", 0, "a/b", RIGHT_PULL, false},
        {"repository:a/b:pull,push", 0, "a/b", RIGHT_PULL | RIGHT_PUSH, false},
        {"repository(plugin):a:pull", 0, "a", RIGHT_PULL, false},
        {"repository:host:5000/a:delete,odd,", 0, "host:5000/a", RIGHT_DELETE, false},
        {"repository:a:*", 0, "a", RIGHT_ALL, false},
        {"registry:catalog:*", 0, "catalog", RIGHT_ALL, true},
        {"repository:a:", 0, "a", 0, false},
        {"aws", ERR_INVALID, NULL, 0, false},
        {"repository:a", ERR_INVALID, NULL, 0, false},
        {"repository::pull", ERR_INVALID, NULL, 0, false},
        {":::", 0, NULL, 0, false},
        {"other:a:pull", ERR_UNSUPPORTED, NULL, 0, false},
    };
    struct scope s;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int err = scope_parse(cases[i].text, strlen(cases[i].text), &s);

        if (!cases[i].name && cases[i].err == 0) {
            assert_int_equal(err, ERR_UNSUPPORTED);
            continue;
        }
        assert_int_equal(err, cases[i].err);
        if (err == 0) {
            assert_string_equal(s.name, cases[i].name);
            assert_int_equal(s.actions, cases[i].actions);
            assert_int_equal(s.registry, cases[i].registry);
        }
    }
}

static void test_messages(void **state)
{
    struct auth_question q = {.user = "u",
                              .password = "p",
                              .peer = "::1",
                              .catalog = true,
                              .scopes = {{"r:i", 3}},
                              .scope_count = 1},
                         got;
    struct msg_writer w = {0};
    struct msg_reader r;

    (void)state;
    msg_begin(&w, MSG_AUTH_TOKEN, 1);
    auth_question_put(&w, &q);
    for (size_t len = MSG_HEADER; len <= w.buf.len; len++) {
        char *exact = malloc(len);

        memcpy(exact, w.buf.data, len);
        assert_int_equal(msg_reader_init(&r, exact, len), 0);
        auth_question_get(&r, &got);
        assert_int_equal(msg_end(&r), len == w.buf.len ? 0 : ERR_PROTOCOL);
        if (len == w.buf.len) {
            assert_string_equal(got.scopes[0].name, "r:i");
            assert_int_equal(got.scopes[0].rights, 3);
        }
        free(exact);
    }
    msg_writer_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_users_file),
        cmocka_unit_test(test_robots),
        cmocka_unit_test(test_robots_file),
        cmocka_unit_test(test_token),
        cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_time_tells_nothing),
    };

    return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
