#include "check.h"

#include "base/file.h"
#include "conf/conf.h"

#include <fcntl.h>
#include <unistd.h>

static char directory[64], path[96];
static struct str mistakes;

static int load(const char *text, struct conf **conf_r)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(file_write_full(fd, text, strlen(text)), 0);
    close(fd);
    str_reset(&mistakes);
    return conf_load(path, conf_r, &mistakes);
}

#define GOOD "hosted r { }\nconnector \"127.0.0.1:1\" { repository = r }\n"

static void test_defaults(void **state)
{
    struct conf *c;
    char cwd[256];

    (void)state;
    assert_int_equal(load("data_dir = relative\n" GOOD, &c), 0);
    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(strncmp(c->data_dir, cwd, strlen(cwd)), 0);
    assert_string_equal(c->data_dir + strlen(cwd), "/relative");
    assert_string_equal(c->run_dir, "/run/entrepot");
    assert_string_equal(c->log, "stderr");
    assert_string_equal(c->access_log, "off");
    assert_true(c->workers >= 1);
    assert_int_equal(c->head_timeout_ms, 30000);
    assert_int_equal(c->max_manifest, 4 << 20);
    assert_int_equal(c->upload_expiry_ms, 86400000);
    assert_int_equal(c->store_count, 1);
    assert_string_equal(c->stores[0].name, "main");
    assert_int_equal(c->repos[0].redeploy, CONF_REDEPLOY_ALLOW);
    assert_true(c->repos[0].online && c->repos[0].delete_allowed &&
                c->repos[0].index_children_strict);
    assert_ptr_equal(c->repos[0].store, &c->stores[0]);
    assert_ptr_equal(c->connectors[0].repo, &c->repos[0]);
    conf_free(&c);
    assert_null(c);
}

static void test_values(void **state)
{
    struct conf *c;

    (void)state;
    assert_int_equal(load("# comments # everywhere\n/* even\nlong */ workers = 3 // here too\n"
                          "head_timeout = 1500ms  keepalive_timeout = 2m  rate_window = 7\n"
                          "blobstore a { path = \"/x/a#b\" quota = 500G keep_free = 12 }\n"
                          "blobstore b { path = /x/b }\n"
                          "hosted r.1 { blobstore = b redeploy = latest-only delete = no max_blob "
                          "= 10K online = off\n"
                          "  index_children = \"lax\" }\n"
                          "hosted s { blobstore = a redeploy = \"read-only\" }\n"
                          "connector \"*:8082\" { host A.Example { repository = r.1 } host b { "
                          "repository = s } }\n"
                          "connector \"[::1]:1\" { }\n",
                          &c),
                     0);
    assert_int_equal(c->workers, 3);
    assert_int_equal(c->head_timeout_ms, 1500);
    assert_int_equal(c->keepalive_timeout_ms, 120000);
    assert_int_equal(c->rate_window_ms, 7000);
    assert_string_equal(c->stores[0].path, "/x/a#b");
    assert_true(c->stores[0].quota == 500ULL << 30);
    assert_int_equal(c->stores[0].keep_free, 12);
    assert_ptr_equal(c->repos[0].store, &c->stores[1]);
    assert_int_equal(c->repos[0].redeploy, CONF_REDEPLOY_LATEST_ONLY);
    assert_false(c->repos[0].delete_allowed || c->repos[0].online ||
                 c->repos[0].index_children_strict);
    assert_int_equal(c->repos[0].max_blob, 10240);
    assert_int_equal(c->repos[1].redeploy, CONF_REDEPLOY_READ_ONLY);
    assert_null(c->connectors[0].repo);
    assert_int_equal(c->connectors[0].host_count, 2);
    assert_string_equal(c->connectors[0].hosts[0].name, "a.example");
    assert_ptr_equal(conf_repo_by_name(c, "s-and-more", 1), &c->repos[1]);
    assert_null(conf_repo_by_name(c, "x", 1));
    conf_free(&c);
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *text, *told;
    } bad[] = {
        {GOOD "bogus = 1\n", ":3: unknown key bogus"},
        {GOOD "bogus { x = 1 }\n", ":3: unknown section bogus"},
        {GOOD "workers = 1\nworkers = 2\n", ":4: workers stands there twice"},
        {GOOD "hosted r { }\n", ":3: hosted stands there twice"},
        {GOOD "workers = -1\n", ":3: workers: -1 is not a number"},
        {GOOD "workers = 65\n", ":3: workers: at most 64"},
        {GOOD "head_timeout = 5x\n", ":3: head_timeout: 5x is not a time"},
        {GOOD "min_rate = 1KB\n", ":3: min_rate: 1KB is not a size"},
        {GOOD "min_rate = 99999999999999T\n", ":3: min_rate"},
        {GOOD "max_manifest = 5M\n", ":3: max_manifest"},
        {GOOD "hosted x { online = maybe }\n", ":3: online: maybe is neither true nor false"},
        {GOOD "hosted x { redeploy = perhaps }\n", ":3: redeploy: perhaps is not one of: allow"},
        {GOOD "hosted X { }\n", ":3: hosted \"X\""},
        {GOOD "hosted v2 { }\n", ":3: hosted \"v2\""},
        {GOOD "hosted x { blobstore = none }\n", ":3: blobstore: there is no blobstore none"},
        {GOOD "blobstore a { }\n", ":3: blobstore a needs a path"},
        {GOOD "blobstore a { path = /x }\nblobstore b { path = /x/y }\n",
         ":4: path: /x/y overlaps with blobstore a"},
        {GOOD "connector nowhere { }\n", ":3: connector \"nowhere\": not an address"},
        {GOOD "connector \"127.0.0.1:2\" { repository = none }\n",
         ":3: repository: there is no repository none"},
        {GOOD "connector \"127.0.0.1:2\" { host h { } }\n", ":3: host h needs a repository"},
        {"hosted r { }\n", "there is no connector"},
        {"connector \"127.0.0.1:1\" { }\n", "there is no repository"},
        {GOOD "proxy hub { remotes = {\"https://x\"} }\n",
         ":3: proxy \"hub\": proxy repositories are not part"},
        {GOOD "group g { members = {r} }\n", ":3: group \"g\""},
        {GOOD "auth { htpasswd = /x }\n", ":3: auth"},
        {GOOD "role d { users = {a} }\n", ":3: role \"d\""},
        {GOOD "admin \"127.0.0.1:3\" { }\n", ":3: admin"},
        {GOOD "docker_v1_api = true\n", ":3: docker_v1_api"},
        {GOOD "hosted x { untagged_after = 1d }\n", ":3: untagged_after"},
        {GOOD "connector \"127.0.0.1:2\" { tls_certificate = /x }\n", ":3: tls_certificate"},
        {"hosted r {\n", ""},
        {"= =\n", ""},
        {"}\n", ""},
    };
    struct conf *c;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (load(bad[i].text, &c) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i].text);
        assert_null(c);
        if (!mistakes.data || !strstr(mistakes.data, bad[i].told))
            fail_msg("%s\nwas told as: %s", bad[i].text, mistakes.data);
    }
    str_reset(&mistakes);
    assert_int_equal(conf_load("/nonexistent/x", &c, &mistakes), ERR_INVALID);
    assert_non_null(strstr(mistakes.data, "/nonexistent/x"));
}

static void test_restart_differences(void **state)
{
    struct conf *a, *b;
    struct str out = {0};

    (void)state;
    assert_int_equal(load("data_dir = /a\nblobstore s { path = /p }\n" GOOD, &a), 0);
    assert_int_equal(load("data_dir = /b\nblobstore s { path = /q }\nworkers = 7\n" GOOD, &b), 0);
    conf_restart_differences(a, b, &out);
    assert_non_null(strstr(out.data, "data_dir was /a and is /b"));
    assert_non_null(strstr(out.data, "path was /p and is /q"));
    assert_null(strstr(out.data, "workers"));
    str_reset(&out);
    conf_restart_differences(a, a, &out);
    assert_int_equal(out.len, 0);
    str_free(&out);
    conf_free(&a);
    conf_free(&b);
}

static int setup(void **state)
{
    (void)state;
    check_directory(directory);
    snprintf(path, sizeof(path), "%s/conf", directory);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    str_free(&mistakes);
    check_remove(directory);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_restart_differences),
    };

    return cmocka_run_group_tests_name("conf", tests, setup, teardown);
}
