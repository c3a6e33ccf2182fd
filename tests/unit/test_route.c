/* What a path means: repository, image and thing, found from the right; hostile ones mean nothing.
 */
#include "check.h"

#include "api/route.h"
#include "base/file.h"

#include <fcntl.h>
#include <unistd.h>

#define D                                                                                          \
    "sha256:"                                                                                      \
    "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
#define X10  "xxxxxxxxxx"
#define X50  X10 X10 X10 X10 X10
#define X255 X50 X50 X50 X50 X50 "xxxxx"

/* Connectors: one of all repositories, one of `local`; a host of the first is `other`. */
#define BOTH "connector \"127.0.0.1:1\" { host other.example { repository = other } }\n"
#define ONE  "connector \"127.0.0.1:2\" { repository = local }\n"
#define TEXT                                                                                       \
    "hosted local { }\nhosted other { }\n"                                                         \
    "proxy hub { remotes = {\"https://registry.example\"} }\n"                                     \
    "group all { members = { local, hub } }\n" BOTH ONE

enum connector { ALL, LOCAL };

static char directory[64];
static struct conf *conf, *with_logins;

static struct conf *load(const char *text)
{
    char path[96];
    struct str mistakes = {0};
    struct conf *loaded = NULL;
    int fd;

    snprintf(path, sizeof(path), "%s/conf", directory);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(file_write_full(fd, text, strlen(text)), 0);
    close(fd);
    if (conf_load(path, &loaded, &mistakes) != 0)
        fail_msg("%s", mistakes.data);
    str_free(&mistakes);
    return loaded;
}

static int make(void **state)
{
    (void)state;
    check_directory(directory);
    conf = load(TEXT);
    with_logins = load("auth { htpasswd = /x }\n" TEXT);
    return 0;
}

static int unmake(void **state)
{
    (void)state;
    conf_free(&conf);
    conf_free(&with_logins);
    check_remove(directory);
    return 0;
}

static bool find(const struct conf *c, struct http_request *r, struct route *route,
                 struct route_failure *why)
{
    r->arena = mem_arena_new();
    if (!r->host)
        r->host = r->authority = "registry.here";
    return route_find(c, r, route, why);
}

static void is(const char *got, const char *wanted)
{
    if (wanted)
        assert_string_equal(got, wanted);
    else
        assert_null(got);
}

/* Those that are something. */
static void test_paths(void **state)
{
    static const struct {
        enum connector connector;
        const char *path;
        enum route_kind kind;
        const char *repo, *image, *ref, *base;
    } rows[] = {
        {LOCAL, "/v2/", ROUTE_PING, "local", NULL, NULL, "/v2/"},
        {LOCAL, "/v2", ROUTE_PING, "local", NULL, NULL, "/v2/"},
        {ALL, "/v2/", ROUTE_PING, NULL, NULL, NULL, "/v2/"},
        {ALL, "/v2/_catalog", ROUTE_CATALOG, NULL, NULL, NULL, "/v2/"},
        {LOCAL, "/v2/_oci/ext/discover", ROUTE_DISCOVER, "local", NULL, NULL, "/v2/"},
        {LOCAL, "/v2/app/manifests/v1", ROUTE_MANIFEST, "local", "app", "v1", "/v2/"},
        {LOCAL, "/v2/team/app/manifests/" D, ROUTE_MANIFEST, "local", "team/app", D, "/v2/"},
        {LOCAL, "/v2/team/app/blobs/" D, ROUTE_BLOB, "local", "team/app", D, "/v2/"},
        {LOCAL, "/v2/team/app/referrers/" D, ROUTE_REFERRERS, "local", "team/app", D, "/v2/"},
        {LOCAL, "/v2/team/app/tags/list", ROUTE_TAGS, "local", "team/app", "list", "/v2/"},
        {LOCAL, "/v2/app/blobs/uploads/", ROUTE_UPLOADS, "local", "app", "", "/v2/"},
        {LOCAL, "/v2/app/blobs/uploads", ROUTE_UPLOADS, "local", "app", "uploads", "/v2/"},
        {LOCAL, "/v2/app/blobs/uploads/0f", ROUTE_UPLOAD, "local", "app", "0f", "/v2/"},
        /* The first component names the repository, the connector, the prefix or the host. */
        {ALL, "/v2/other/app/tags/list", ROUTE_TAGS, "other", "app", "list", "/v2/other/"},
        {ALL, "/v2/all/hub/tags/list", ROUTE_TAGS, "all", "hub", "list", "/v2/all/"},
        {LOCAL, "/v2/other/app/tags/list", ROUTE_TAGS, "local", "other/app", "list", "/v2/"},
        {LOCAL, "/repository/other/v2/", ROUTE_PING, "other", NULL, NULL, "/repository/other/v2/"},
        {LOCAL, "/repository/other/v2", ROUTE_PING, "other", NULL, NULL, "/repository/other/v2/"},
        {LOCAL, "/repository/hub/v2/a/manifests/b", ROUTE_MANIFEST, "hub", "a", "b",
         "/repository/hub/v2/"},
        /* What paths are made of may stand in names, and in tags. */
        {LOCAL, "/v2/tags/tags/list", ROUTE_TAGS, "local", "tags", "list", "/v2/"},
        {LOCAL, "/v2/a/tags/list/manifests/b", ROUTE_MANIFEST, "local", "a/tags/list", "b", "/v2/"},
        {LOCAL, "/v2/manifests/blobs/manifests/list", ROUTE_MANIFEST, "local", "manifests/blobs",
         "list", "/v2/"},
        {LOCAL, "/v2/a/blobs/uploads/manifests/b", ROUTE_MANIFEST, "local", "a/blobs/uploads", "b",
         "/v2/"},
        {LOCAL, "/v2/a/blobs/blobs/uploads/0f", ROUTE_UPLOAD, "local", "a/blobs", "0f", "/v2/"},
        {LOCAL, "/v2/uploads/blobs/" D, ROUTE_BLOB, "local", "uploads", D, "/v2/"},
        {LOCAL, "/v2/app/manifests/_catalog", ROUTE_MANIFEST, "local", "app", "_catalog", "/v2/"},
        {LOCAL, "/v2/app/manifests/list", ROUTE_MANIFEST, "local", "app", "list", "/v2/"},
        {LOCAL, "/v2/app/manifests/uploads", ROUTE_MANIFEST, "local", "app", "uploads", "/v2/"},
        {LOCAL, "/v2/token/tags/list", ROUTE_TAGS, "local", "token", "list", "/v2/"},
        /* A reference is not looked at here. */
        {LOCAL, "/v2/app/manifests/", ROUTE_MANIFEST, "local", "app", "", "/v2/"},
        {LOCAL, "/v2/app/blobs/..", ROUTE_BLOB, "local", "app", "..", "/v2/"},
        /* Decoded once. */
        {LOCAL, "/v2/te%61m%2Fapp/manifests/v%31", ROUTE_MANIFEST, "local", "team/app", "v1",
         "/v2/"},
        {LOCAL, "/v2/app/manifests/a+b", ROUTE_MANIFEST, "local", "app", "a+b", "/v2/"},
        {LOCAL, "/v2/app/manifests/%2531", ROUTE_MANIFEST, "local", "app", "%31", "/v2/"},
        {LOCAL, "/v2/" X255 "/tags/list", ROUTE_TAGS, "local", X255, "list", "/v2/"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_request r = {.path = rows[i].path, .listener = rows[i].connector};
        struct route_failure why = {0};
        struct route route;

        if (!find(conf, &r, &route, &why))
            fail_msg("%s: %s", r.path, why.text ? why.text : "refused");
        if (route.kind != rows[i].kind)
            fail_msg("%s is a route of kind %d", r.path, route.kind);
        is(route.repo ? route.repo->name : NULL, rows[i].repo);
        is(route.image, rows[i].image);
        is(route.ref, rows[i].ref);
        is(route.base, rows[i].base);
        assert_null(route.ns);
        mem_arena_free(&r.arena);
    }
}

static void test_no_paths(void **state)
{
    static const struct {
        enum connector connector;
        const char *path;
        enum problem problem;
    } rows[] = {
        {LOCAL, "/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v1/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v22/app/tags/list", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/V2/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "//v2/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "v2/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2//", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/_catalog/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/a/_catalog", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/token", PROBLEM_NAME_UNKNOWN}, /* without logins */
        /* Without an image. */
        {LOCAL, "/v2/tags/list", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/manifests/v1", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/blobs/" D, PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/blobs/uploads/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/blobs/uploads/0f", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2//tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2//manifests/v1", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2//blobs/uploads/", PROBLEM_NAME_INVALID},
        /* Almost. */
        {LOCAL, "/v2/app/tags/lists", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app/tags/list/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app/tagss/list", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app/manifests/a/b", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app/manifest/a", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/app/blobs/uploads/0f/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/v2/team/app/uploads/0f", PROBLEM_NAME_UNKNOWN},
        /* Names are not cleaned up. */
        {LOCAL, "/v2/../app/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app/../../etc/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/./app/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/a//b/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/App/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app /tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/_app/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app\\x/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/%2e%2e/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/a%2F..%2Fb/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/%252e/tags/list", PROBLEM_NAME_INVALID}, /* decoded once */
        {LOCAL, "/v2/\xc3\xa4/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app;x=1/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/" X255 "x/tags/list", PROBLEM_NAME_INVALID},
        /* Escapes that are none. */
        {LOCAL, "/v2/app%/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app%2/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app%zz/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app%00/tags/list", PROBLEM_NAME_INVALID},
        {LOCAL, "/v2/app%0d%0aSet-Cookie/tags/list", PROBLEM_NAME_INVALID},
        /* Repositories. */
        {ALL, "/v2/app/tags/list", PROBLEM_NAME_UNKNOWN},
        {ALL, "/v2/local/tags/list", PROBLEM_NAME_UNKNOWN},
        {ALL, "/v2/loca/app/tags/list", PROBLEM_NAME_UNKNOWN},
        {ALL, "/v2/locall/app/tags/list", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/repository/other", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/repository/other/v22/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/repository/others/v2/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/repository//v2/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/repository/../v2/", PROBLEM_NAME_UNKNOWN},
        {LOCAL, "/repository/other/v2/local", PROBLEM_NAME_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_request r = {.path = rows[i].path, .listener = rows[i].connector};
        struct route_failure why = {0};
        struct route route;

        if (find(conf, &r, &route, &why))
            fail_msg("%s is a route of kind %d", r.path, route.kind);
        if (why.problem != rows[i].problem)
            fail_msg("%s: another problem, %s", r.path, why.text ? why.text : "its own text");
        mem_arena_free(&r.arena);
    }
}

/* A tag and a name may be `token`, whoever logs in. */
static void test_token_is_a_path_with_logins(void **state)
{
    struct http_request r = {.path = "/v2/token", .listener = LOCAL};
    struct route_failure why;
    struct route route;

    (void)state;
    assert_true(find(with_logins, &r, &route, &why));
    assert_true(route.kind == ROUTE_TOKEN);
    mem_arena_free(&r.arena);
    r.path = "/v2/app/manifests/token";
    assert_true(find(with_logins, &r, &route, &why));
    assert_true(route.kind == ROUTE_MANIFEST);
    mem_arena_free(&r.arena);
}

static void test_a_host_names_the_repository(void **state)
{
    struct http_request r = {.path = "/v2/app/tags/list",
                             .host = "other.example",
                             .authority = "other.example:1",
                             .listener = ALL};
    struct route_failure why;
    struct route route;

    (void)state;
    assert_true(find(conf, &r, &route, &why));
    is(route.repo->name, "other");
    is(route.image, "app");
    is(route.base, "/v2/");
    mem_arena_free(&r.arena);
    r.host = "other.example.org";
    assert_false(find(conf, &r, &route, &why));
    assert_true(why.problem == PROBLEM_NAME_UNKNOWN);
    mem_arena_free(&r.arena);
}

/* ns= chooses among the proxies that the repository has, where something is read. */
static void test_namespaces(void **state)
{
    static const struct {
        enum http_method method;
        const char *path, *query, *repo, *ns; /* repo NULL: no route */
    } rows[] = {
        {HTTP_GET, "/v2/all/app/tags/list", "ns=registry.example", "hub", "registry.example"},
        {HTTP_HEAD, "/v2/all/app/tags/list", "ns=Registry.Example", "hub", "registry.example"},
        {HTTP_GET, "/v2/app/tags/list", "ns=registry.example", "hub", "registry.example"},
        {HTTP_GET, "/repository/all/v2/app/tags/list", "ns=registry.example", "hub",
         "registry.example"},
        {HTTP_PUT, "/v2/all/app/manifests/x", "ns=registry.example", "all", NULL},
        {HTTP_GET, "/v2/all/app/tags/list", "ns=", "all", NULL},
        {HTTP_GET, "/v2/all/app/tags/list", "ns=registry.here", "all", NULL}, /* we ourselves */
        {HTTP_GET, "/repository/local/v2/app/tags/list", "ns=registry.example", "local", NULL},
        {HTTP_GET, "/repository/all/v2/app/tags/list", "ns=elsewhere.example", NULL, NULL},
        {HTTP_GET, "/v2/app/tags/list", "ns=docker.io", NULL, NULL},
        {HTTP_GET, "/v2/app/tags/list", "ns=%zz", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_request r = {
            .method = rows[i].method, .path = rows[i].path, .query = rows[i].query};
        struct route_failure why = {0};
        struct route route;
        bool found = find(conf, &r, &route, &why);

        if (found != (rows[i].repo != NULL))
            fail_msg("%s?%s: %s", r.path, r.query, why.text ? why.text : "a route");
        if (found) {
            is(route.repo->name, rows[i].repo);
            is(route.ns, rows[i].ns);
        }
        mem_arena_free(&r.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_no_paths),
        cmocka_unit_test(test_token_is_a_path_with_logins),
        cmocka_unit_test(test_a_host_names_the_repository),
        cmocka_unit_test(test_namespaces),
    };

    return cmocka_run_group_tests(tests, make, unmake);
}
