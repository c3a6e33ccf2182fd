#include "check.h"

#include "base/file.h"
#include "conf/conf.h"
#include "conf/conf_schema.h"

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

#define A63  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define S(n) "blobstore s" #n " { path = /s" #n " }\n"
#define SIXTEEN_STORES                                                                             \
    S(1) S(2) S(3) S(4) S(5) S(6) S(7) S(8) S(9) S(10) S(11) S(12) S(13) S(14) S(15) S(16)
#define GOOD "hosted r { }\nconnector \"127.0.0.1:1\" { repository = r }\n"

#define AUTH "auth { htpasswd = /x }\n"

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
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
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
        {GOOD "hosted r { online = perhaps }\n",
         ":3: hosted \"r\" stands there twice (first in line 1)"},
        {GOOD "workers = -1\n", ":3: workers: -1 is not a number"},
        {GOOD "workers = 65\n", ":3: workers: at most 64"},
        {GOOD "head_timeout = 5x\n", ":3: head_timeout: 5x is not a time"},
        {GOOD "min_rate = 1KB\n", ":3: min_rate: 1KB is not a size"},
        {GOOD "min_rate = 99999999999999T\n", ":3: min_rate"},
        {GOOD "max_manifest = 5M\n", ":3: max_manifest: 5M is out of range"},
        {GOOD "max_manifest = 0\n", ":3: max_manifest: 0 is out of range"},
        {GOOD "head_timeout = 0\n", ":3: head_timeout: 0 is out of range"},
        {GOOD "keepalive_timeout = 2d\n", ":3: keepalive_timeout: 2d is out of range"},
        {GOOD "rate_window = 0s\n", ":3: rate_window: 0s is out of range"},
        {GOOD "min_rate = 1T\n", ":3: min_rate: 1T is out of range"},
        {GOOD "upload_expiry = 999ms\n", ":3: upload_expiry: 999ms is out of range"},
        {GOOD "max_connections = 0\n", ":3: max_connections: 0 is out of range"},
        {GOOD "max_uploads = 0\n", ":3: max_uploads: 0 is out of range"},
        {GOOD "data_dir = \"\"\n", ":3: data_dir: is empty"},
        {GOOD "run_dir = \"\"\n", ":3: run_dir: is empty"},
        {GOOD "log = \"\"\n", ":3: log: is empty"},
        {GOOD "access_log = \"\"\n", ":3: access_log: is empty; write off"},
        {GOOD "blobstore a { path = /a quota = -1 }\n", ":3: quota: -1 is not a size"},
        {GOOD "workers = \"c\x01"
              "d\"\n",
         ":3: workers: c?d is not a number"},
        {GOOD "log = \"a\nworkers = \"c\"\n",
         ":3: a string begins here and does not end in this line"},
        {GOOD "hosted x { online = maybe }\n", ":3: online: maybe is neither true nor false"},
        {GOOD "hosted x { redeploy = perhaps }\n", ":3: redeploy: perhaps is not one of: allow"},
        {GOOD "hosted X { }\n", ":3: hosted \"X\""},
        {GOOD "hosted v2 { }\n", ":3: hosted \"v2\""},
        {GOOD "hosted repository { }\n", ":3: hosted \"repository\""},
        {GOOD "hosted a..b { }\n", ":3: hosted \"a..b\""},
        {GOOD "hosted a" A63 " { }\nhosted b" A63 "b { }\n", ":4: hosted \"ba"},
        {GOOD "blobstore .. { path = /x }\n", ":3: blobstore \"..\""},
        {GOOD "blobstore -a { path = /x }\n", ":3: blobstore \"-a\""},
        {GOOD "blobstore \"\" { path = /x }\n", ":3: blobstore \"\""},
        {GOOD "hosted x { blobstore = none }\n", ":3: blobstore: there is no blobstore none"},
        {GOOD "blobstore a { }\n", ":3: blobstore a needs a path"},
        {GOOD "blobstore a { path = /x }\nblobstore b { path = /x/y }\n",
         ":4: path: /x/y overlaps with blobstore a"},
        {GOOD "blobstore a { path = /x/ }\nblobstore b { path = //x/./y/ }\n", ":4: "},
        {GOOD "blobstore a { path = \"/x//y/\" }\nblobstore b { path = /x }\n",
         ":4: path: /x overlaps with blobstore a"},
        {GOOD "blobstore a { path = /x }\nblobstore b { path = / }\n",
         ":4: path: / overlaps with blobstore a"},
        {GOOD "blobstore a { path = /x/../y }\n", ":3: path: /x/../y climbs"},
        {SIXTEEN_STORES "blobstore s17 { path = /s17 }\n", ":17: blobstore s17: at most 16"},
        {GOOD "connector nowhere { }\n", ":3: connector \"nowhere\": not an address"},
        {GOOD "connector \"127.0.0.1:2\" { repository = none }\n",
         ":3: repository: there is no repository none"},
        {GOOD "connector \"127.0.0.1:2\" { host h { } }\n", ":3: host h needs a repository"},
        {GOOD "connector \"127.0.0.1:01\" { }\n",
         ":3: connector \"127.0.0.1:01\": connector \"127.0.0.1:1\" has this address"},
        {GOOD "connector \"0.0.0.0:1\" { }\n", ":3: connector \"0.0.0.0:1\": connector"},
        {GOOD "connector \"*:1\" { }\n", ":3: connector \"*:1\": connector"},
        {GOOD "connector \"[::1]:2\" { }\nconnector \"[::]:2\" { }\n", ":4: connector"},
        {GOOD "connector \"[::]:2\" { }\nconnector \"[::1]:2\" { }\n", ":4: connector"},
        {GOOD "connector \"[::1]:2\" { }\nconnector \"[0::1]:2\" { }\n", ":4: connector"},
        {GOOD "connector *:2 { }\n", ":3: * cannot stand here"},
        {GOOD "connector \"127.0.0.1:2\" { host a { repository = r } host A { repository = r } }\n",
         ":3: host \"A\": this name stands there before"},
        {GOOD "connector \"127.0.0.1:2\" { host a:8082 { repository = r } }\n",
         ":3: host \"a:8082\": not a host name"},
        {GOOD "a{b{c{d{e{f{g{h{i{ }}}}}}}}}\n", ":3: i: sections within sections"},
        {"hosted r { }\n", "there is no connector"},
        {"connector \"127.0.0.1:1\" { }\n", "there is no repository"},
        {GOOD "auth { }\n", ":3: auth: needs htpasswd"},
        {GOOD "auth { htpasswd = /x\ntoken_ttl = 10s }\n", ":4: token_ttl: 10s is out of range"},
        {GOOD "auth { htpasswd = /x\nanonymous_may = {read} }\n",
         ":4: anonymous_may: read is none"},
        {GOOD "auth { htpasswd = /x\nanonymous_may = {push} }\n", ":4: anonymous_may: no client"},
        {GOOD AUTH "role d { users = {\"a b\"}\nimages = {\"r:x\"}\nmay = {pull} }\n",
         ":4: users: \"a b\" is not"},
        {GOOD AUTH "role d { users = {a}\nimages = {\"x\"}\nmay = {pull} }\n",
         ":5: images: \"x\" is not a pattern"},
        {GOOD AUTH "role d { users = {a}\nimages = {\"q:x\"}\nmay = {pull} }\n",
         ":5: images: \"q:x\": there is no repository q"},
        {GOOD AUTH "role d { users = {a} }\n", ":4: role d: needs users, images and may"},
        {GOOD "hosted f { force_basic_auth = true }\n", ":3: force_basic_auth: there is nobody"},
        {GOOD "auth { token_ttl = soon }\n", ":3: token_ttl: soon is not a time"},
        {GOOD "role d { users = {a} }\n", ":3: role \"d\": without logins"},
        {GOOD "admin \"127.0.0.1:1\" { }\n", ":3: connector \"127.0.0.1:1\""},
        {"hosted r { }\nadmin \"127.0.0.1:1\" { }\n", "there is no connector"},
        {GOOD "connector \"127.0.0.1:2\" { host h { repository = r\ntls_certificate = /x } }\n",
         ":4: tls_certificate: needs its tls_key"},
        {GOOD "connector \"127.0.0.1:2\" { host h { repository = r\ntls_certificate = /x\n"
              "tls_key = /y } }\n",
         ":4: tls_certificate: connector \"127.0.0.1:2\" speaks plain HTTP"},
        {GOOD "docker_v1_api = 1\n", ":3: docker_v1_api: 1 is neither true nor false"},
        {GOOD "log_level = loud\n", ":3: log_level: "},
        {GOOD "hosted x { untagged_after = 1d }\n", ":3: untagged_after: clean-ups"},
        {GOOD "hosted x { untagged_after = x }\n", ":3: untagged_after: x is not a time"},
        {GOOD "connector \"127.0.0.1:2\" { tls_certificate = /x }\n",
         ":3: tls_certificate: needs its tls_key"},
        {GOOD "connector \"127.0.0.1:2\" { tls_key = /x }\n",
         ":3: tls_key: needs its tls_certificate"},
        {GOOD "connector \"127.0.0.1:2\" { external_url = x.example }\n",
         ":3: external_url: x.example is not https://HOST"},
        {GOOD "connector \"127.0.0.1:2\" { external_url = ftp://x }\n", ":3: external_url"},
        {GOOD "connector \"127.0.0.1:2\" { external_url = https://x/y }\n", ":3: external_url"},
        {GOOD "connector \"127.0.0.1:2\" { external_url = https:// }\n", ":3: external_url"},
        {GOOD "connector \"127.0.0.1:2\" { external_url = https://x:0 }\n", ":3: external_url"},
        {GOOD "connector \"127.0.0.1:2\" { external_url = https://u@x }\n", ":3: external_url"},
        {GOOD "connector \"127.0.0.1:2\" { trusted_proxies = {\"\", \"::1\"} }\n",
         ":3: trusted_proxies:  is neither"},
        {GOOD "connector \"127.0.0.1:2\" { trusted_proxies = {\"10.0.0.1/8\"} }\n",
         ":3: trusted_proxies: 10.0.0.1/8 is neither"},
        {GOOD "connector \"127.0.0.1:2\" { tls_client_ca = /ca }\n",
         ":3: tls_client_ca: connector \"127.0.0.1:2\" speaks plain HTTP"},
        {GOOD "connector \"127.0.0.1:2\" { proxy_protocol = true }\n",
         ":3: proxy_protocol: nobody could connect"},
        {GOOD "connector \"127.0.0.1:2\" { trusted_proxies = {proxy.example} }\n",
         ":3: trusted_proxies: proxy.example is neither"},
    };
    static char large[(1 << 20) + 2];
    struct conf *c;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (load(bad[i].text, &c) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i].text);
        assert_null(c);
        if (!mistakes.data || !strstr(mistakes.data, bad[i].told))
            fail_msg("%s\nwas told as: %s", bad[i].text, mistakes.data);
    }
    if (geteuid() == 0) { /* nobody else can change accounts */
        assert_int_equal(load(GOOD "user = no-such-account\n", &c), ERR_INVALID);
        assert_non_null(strstr(mistakes.data, ":3: user: there is no account no-such-account"));
    }
    memset(large, ' ', sizeof(large) - 1);
    assert_int_equal(load(large, &c), ERR_INVALID);
    assert_non_null(strstr(mistakes.data, "at most 1 MiB"));
    str_reset(&mistakes);
    assert_int_equal(conf_load("/nonexistent/x", &c, &mistakes), ERR_INVALID);
    assert_non_null(strstr(mistakes.data, "/nonexistent/x"));
}

/* Everything wrong in a file is told, each in its line, and nothing that is right. */
static void test_all_mistakes(void **state)
{
    static const char text[] = "bogus \"t\" { a = {1, 2} b { c = d } e = f }\n"
                               "bogus2 = {a, b}\n"
                               "workers = x\n"
                               "/* two\nlines */ log = {a}\n"
                               "hosted r { bogus3 += {a} online = perhaps }\n"
                               "hosted { redeploy = perhaps }\n"
                               "auth \"x\" { }\n"
                               "group g { members = {r, nobody} }\n"
                               "host h { }\n"
                               "connector \"127.0.0.1:1\" { repository = g }\n"
                               "connector \"127.0.0.1:2\" { repository = nowhere }\n";
    static const char *const told[] = {
        ":1: unknown section bogus;",
        ":2: unknown key bogus2;",
        ":3: workers: x is not a number",
        ":5: log: takes one value",
        ":6: unknown key bogus3 in section hosted;",
        ":6: online: perhaps is neither",
        ":7: hosted: needs a name",
        ":8: auth: takes no name",
        ":9: members: there is no repository nobody",
        ":10: unknown section host;",
        ":12: repository: there is no repository nowhere",
    };
    size_t lines = 0;
    struct conf *c;

    (void)state;
    assert_int_equal(load(text, &c), ERR_INVALID);
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (!strstr(mistakes.data, told[i]))
            fail_msg("%s is missing in\n%s", told[i], mistakes.data);
    for (const char *p = mistakes.data; *p; p++)
        lines += *p == '\n';
    if (lines != sizeof(told) / sizeof(told[0]))
        fail_msg("%zu mistakes told:\n%s", lines, mistakes.data);
}

/* Nothing may be skipped in silence: neither by libconfuse nor by the walk over
 * the names. Each is told in the line it is in, and it alone. */
static void test_syntax(void **state)
{
    static const struct {
        const char *text, *told;
    } bad[] = {
        {"hosted r {\n\n", ":1: section hosted does not end"},
        {"\n= =\n", ":2: = cannot stand here"},
        {"\n}\n", ":2: } cannot stand here"},
        {GOOD "hosted \"x\n\n", ":3: a string begins here"},
        {GOOD "log = 'x\n\n", ":3: a string begins here"},
        {GOOD "\n/* x\nauth { }\n", ":4: a comment begins here"},
        {GOOD "workers =\n}", ":3: workers: the value is missing"},
        {GOOD "online\n", ":3: online: write online = VALUE"},
        {GOOD "proxy p { remotes = {a b} }\n", ":3: remotes: a list is written"},
        {GOOD "proxy p { remotes = {a,\n,b} }\n", ":4: remotes: a list is written"},
        {GOOD "workers + = 3\nauth { }\n", ":3: + cannot stand here"},
        {GOOD "+ auth { }\n", ":3: + cannot stand here"},
        {GOOD "role x { images = {team/**} }\n", ":3: * cannot stand here"},
        {GOOD "log = ${HOME}\nauth { }\n", ":3: { cannot stand here"},
        {GOOD "log = \"${HOME}\"\n", ":3: variables are not replaced"},
        {GOOD "role \"${HOME}\" { }\n", ":3: variables are not replaced"},
        {GOOD "proxy \"hu\\x62\" { }\n", ":3: proxy \"hu\\x62\": a name holds no backslash"},
        {GOOD "hosted \"x\\\ny\" { redeploy = deny }\n", ":3: a string begins here"},
        {GOOD "workers = 1\f\n", ":3: workers: 1? is not a number"},
    };
    struct conf *c;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (load(bad[i].text, &c) != ERR_INVALID)
            fail_msg("accepted: %s", bad[i].text);
        if (!strstr(mistakes.data, bad[i].told) ||
            strchr(mistakes.data, '\n') != mistakes.data + mistakes.len - 1)
            fail_msg("%s\nwas told as: %s", bad[i].text, mistakes.data);
        /* What a bad file leaves behind in the parser does not spoil the next. */
        assert_int_equal(load(GOOD, &c), 0);
        assert_int_equal(c->repo_count, 1);
        conf_free(&c);
    }
}

/* What config.md shows without quotes, and what looks like a comment and is none. */
static void test_words(void **state)
{
    struct conf *c;

    (void)state;
    assert_int_equal(load("log = /x//y/./z/ # a comment\naccess_log = \"/a # b\" // another\n"
                          "data_dir = '/${HOME}'\nrun_dir = \"/\\${HOME}\"\n"
                          "docker_v1_api = no\n"
                          "hosted r { untagged_after = 0s }\n"
                          "connector \"127.0.0.1:1\" {\n tls_certificate = \"\" external_url = "
                          "\"\" trusted_proxies = {} }\n"
                          "connector \"127.0.0.2:1\" { }\nconnector \"[::]:1\" { }\n",
                          &c),
                     0);
    assert_string_equal(c->log, "/x/y/z");
    assert_string_equal(c->access_log, "/a # b");
    assert_string_equal(c->data_dir, "/${HOME}");
    assert_string_equal(c->run_dir, "/${HOME}");
    assert_int_equal(c->connector_count, 3);
    conf_free(&c);
}

static void test_proxies_in_front(void **state)
{
    struct conf *c;

    (void)state;
    assert_int_equal(load("hosted r { }\n"
                          "connector \"127.0.0.1:1\" { external_url = \"HTTPS://R.Example:8443/\"\n"
                          " trusted_proxies = {\"10.0.0.0/8\", \"::1\"} }\n"
                          "connector \"127.0.0.1:2\" { external_url = \"http://[::1]\" }\n"
                          "connector \"127.0.0.1:3\" { external_url = \"http://[::1]:5\" }\n",
                          &c),
                     0);
    assert_string_equal(c->connectors[0].external_url, "https://r.example:8443");
    assert_int_equal(c->connectors[0].trusted_count, 2);
    assert_string_equal(c->connectors[1].external_url, "http://[::1]");
    assert_int_equal(c->connectors[1].trusted_count, 0);
    assert_string_equal(c->connectors[2].external_url, "http://[::1]:5");
    conf_free(&c);
}

/* What operators write who know other programs: what is wrong, where, what to do. */
static void test_ordinary_mistakes(void **state)
{
    static const struct {
        const char *text, *told;
    } bad[] = {
        {"data_dir = \"/x\n" GOOD, ":1: a string begins here and does not end in this line"},
        {GOOD "log = 'x\n", ":3: a string begins here"},
        {GOOD "blobstore b {\n path = /b\n quota = 500 G\n}\n",
         ":5: G stands behind the value of quota; a number and its unit are one word like 500G"},
        {GOOD "min_rate = 500GiB\n",
         ":3: min_rate: 500GiB is not a size; write a number with K, M, G "
         "or T, like 500G; here 500G"},
        {GOOD "min_rate = 1gb\n", "; here 1G"},
        {GOOD "min_rate = 1m\n", "; here 1M"},
        {GOOD "min_rate = 1.5M\n", "numbers are whole"},
        {GOOD "gc_interval = 10min\n",
         ":3: gc_interval: 10min is not a time; write a number with ms, "
         "s, m, h or d, like 10m; here 10m"},
        {GOOD "gc_interval = 2days\n", "; here 2d"},
        {GOOD "workers = -1\n", "workers: -1 is not a number; write 0 to 1000000"},
        {GOOD "; a comment\n", ":3: a comment begins with #"},
        {GOOD "workers = 1; more\n", ":3: workers: lines end without ;"},
        {GOOD "workers 1;\n",
         ":3: workers: the = is missing and the ; is too much; write workers = 1"},
        {GOOD "workers 1\n", ":3: workers: the = is missing; write workers = 1"},
        {GOOD "hosted x redeploy = deny }\n", ":3: section hosted \"x\": the { is missing"},
        {GOOD "hosted x = { }\n", ":3: section hosted \"x\": the { is missing"},
        {"data_dir: /x\n" GOOD, ":1: data_dir:: keys take =, not a colon; write data_dir = VALUE"},
        {GOOD "[hosted]\nredeploy = allow\n", ":3: a section is written NAME { KEY = VALUE }"},
        {"\xef\xbb\xbf" GOOD, ":1: the file begins with a byte order mark"},
        {"\xff\xfeh", ":1: the file is UTF-16"},
        {GOOD "include /etc/entrepot/*.conf\n", ":3: there is no include"},
        {GOOD "include = \"/x\"\n", ":3: there is no include"},
        {GOOD "data_dir = \xe2\x80\x9c/x\xe2\x80\x9d\n", ":3: a typographic quote"},
        {GOOD "workers\xc2\xa0= 1\n", ":3: a typographic quote, dash or space"},
        {GOOD "connector \"127.0.0.1:70000\" { }\n",
         ":3: connector \"127.0.0.1:70000\": not an "
         "address: 70000 is no port; they end at 65535"},
        {GOOD "connector \"localhost:8082\" { }\n", "names are not looked up, because"},
        {GOOD "admin \"registry.example:8082\" { }\n",
         ":3: admin \"registry.example:8082\": not an "
         "address: names are not looked up, because"},
        {GOOD "connector \"127.0.0.1\" { }\n", "the port is missing; write \"127.0.0.1:8082\""},
        {GOOD "connector \"[::1]\" { }\n", "the port is missing; write \"[::1]:8082\""},
        {GOOD "connector 8082 { }\n", "the address is missing; write \"*:8082\""},
        {GOOD "connector \":8082\" { }\n", "write \"*:8082\" for all"},
        {GOOD "connector \"http://127.0.0.1:8082\" { }\n", "not a URL but the address alone"},
        {GOOD "hosted x {\nconnector \"127.0.0.1:2\" { }\n",
         ":4: unknown section connector in section hosted; its place is at the top level: is a } "
         "missing above?"},
        {GOOD "host a { }\n", "; its place is in connector \"ADDRESS:PORT\" { }"},
        {GOOD "}\n", ":3: } cannot stand here"},
        {GOOD "hosted { }\n", ":3: hosted: needs a name; write hosted NAME { }"},
        {GOOD "proxy p { remotes = [\"https://x.example\"] }\n",
         ":3: remotes: a list is written {a, b}"},
        {GOOD "redeploy = deny\n", ":3: unknown key redeploy; its place is in hosted NAME { }"},
        {GOOD "hosted x { quota = 5G }\n",
         ":3: unknown key quota in section hosted; its place is in "
         "blobstore NAME { } or in proxy NAME { }"},
        {GOOD "proxy p { remotes = {\"https://x.example\"} max_blob = 1K }\n",
         ":3: unknown key max_blob in section proxy; its place is in hosted NAME { }"},
        {GOOD "hosted x { data_dir = /x }\n", "; its place is at the top level"},
        {GOOD "auth { htpasswd = /x users = {a} }\n", "; its place is in role NAME { }"},
        {GOOD "data_dri = /x\n", ":3: unknown key data_dri; did you mean data_dir?"},
        {GOOD "data-dir = /x\n", "; did you mean data_dir?"},
        {GOOD "DATA_DIR = /x\n", "; did you mean data_dir?"},
        {GOOD "hosted x { redploy = deny }\n",
         ":3: unknown key redploy in section hosted; did you mean "
         "redeploy?"},
        {GOOD "hostd x { }\n", ":3: unknown section hostd; did you mean hosted?"},
        {GOOD "entirely_else = 1\n", ":3: unknown key entirely_else; see entrepot.conf(5)"},
        {GOOD "hosted x { online = True }\n",
         ":3: online: True is neither true nor false; write one"},
        {"", ": the file is empty"},
        {" \r\n\t\n", ": the file is empty"},
        {GOOD AUTH "auth { htpasswd = /y }\n", ":4: auth stands there twice (first in line 3)"},
        {GOOD "hosted r { }\n", ":3: hosted \"r\" stands there twice (first in line 1)"},
        {GOOD "hosted b { }\ngroup g { members = {r}\n push_to = b }\n",
         ":5: push_to: b is not among the members of group g, so what is pushed could not be "
         "pulled; "
         "add it to members"},
    };
    struct conf *c;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(load(bad[i].text, &c), ERR_INVALID);
        if (!strstr(mistakes.data, bad[i].told))
            fail_msg("%s\nis told as\n%snot as\n%s", bad[i].text, mistakes.data, bad[i].told);
    }
}

/* Line ends and tabs of other systems and habits, and what only looks like a mistake. */
static void test_what_is_no_mistake(void **state)
{
    static const char *const good[] = {
        "hosted r {\r\n\tredeploy\t=\tallow\r\n}\r\n\tconnector \"127.0.0.1:1\" { }\r\n",
        GOOD "data_dir = \"/x;\"\n",
        GOOD "data_dir = /gr\xc3\xb6\xc3\x9f"
             "e\n",
        GOOD "data_dir = \"/\xe2\x80\x9cx\xe2\x80\x9d\"\n",
        "hosted r { }\nhosted b { }\ngroup inner { members = {b} }\n"
        "group g { members = {r, inner}\n push_to = b }\nconnector \"127.0.0.1:1\" { }\n",
    };
    struct conf *c;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (load(good[i], &c) != 0)
            fail_msg("%s\nis refused: %s", good[i], mistakes.data);
        conf_free(&c);
    }
    assert_int_equal(conf_load(directory, &c, &mistakes), ERR_INVALID);
    assert_non_null(strstr(mistakes.data, "is a directory; name the file in it"));
}

/* One run tells all that is wrong with logins. */
static void test_all_mistakes_of_auth_at_once(void **state)
{
    static const char *const told[] = {
        ":3: auth: needs htpasswd",
        ":4: anonymous_may: read is none of pull, push, delete",
        ":5: token_ttl: 1s is out of range",
        ":6: force_basic_auth: maybe is neither true nor false",
        ":7: unknown key realm in section auth",
        ":10: users: \"a b\" is not a user's name",
        ":11: images: \"x\" is not a pattern",
        ":12: may: write is none of pull, push, delete",
        ":9: role x: needs users, images and may",
    };
    struct conf *c;

    (void)state;
    assert_int_equal(load(GOOD "auth {\n anonymous_may = {pull, read}\n token_ttl = 1s\n"
                               " force_basic_auth = maybe\n realm = x\n}\nrole x {\n"
                               " users = {\"a b\"}\n images = {x}\n may = {write}\n}\n",
                          &c),
                     ERR_INVALID);
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++)
        if (!strstr(mistakes.data, told[i]))
            fail_msg("%s\nis not in\n%s", told[i], mistakes.data);
}

/* The table and conf_restart_differences() agree. */
static void test_restart_keys(void **state)
{
    static const char *const restart[] = {"user", "auth_user", "data_dir", "run_dir", "path"};
    size_t count = 0;

    (void)state;
    for (size_t i = 0; i < CONF_KEY_COUNT; i++) {
        if (conf_keys[i].live)
            continue;
        assert_true(count < 5);
        assert_string_equal(conf_keys[i].name, restart[count++]);
    }
    assert_int_equal(count, 5);
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
    assert_non_null(strstr(out.data, "blobstore s: path was /p and is /q"));
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

static void test_patterns(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"a", "a", true},
        {"a", "b", false},
        {"a", "", false},
        {"*", "abc", true},
        {"*", "a/b", false},
        {"*", "", true},
        {"**", "a/b/c", true},
        {"team/*", "team/app", true},
        {"team/*", "team/app/x", false},
        {"team/**", "team/app/x", true},
        {"team/**", "team", false},
        {"team/**", "teams/app", false},
        {"*/app", "team/app", true},
        {"*/app", "a/b/app", false},
        {"**/app", "a/b/app", true},
        {"corp-*", "corp-x", true},
        {"corp-*", "corp-x/y", false},
        {"a*b*c", "aXbXbc", true},
        {"a*b*c", "aXbXb", false},
        {"**b*c", "b/bxc", true},
        {"*a**z", "xa/a/z", true},
        {"**/a*/z", "q/ab/c/ad/z", true},
        {"**/a*/z", "q/ab/c/z", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (conf_pattern_matches(cases[i].pattern, cases[i].text) != cases[i].matches)
            fail_msg("%s and %s", cases[i].pattern, cases[i].text);
}

static void test_rights(void **state)
{
    const struct conf_repo *r, *open;
    struct conf *c;
    char text[RIGHTS_TEXT_MAX];

    (void)state;
    assert_int_equal(load(GOOD, &c), 0);
    assert_int_equal(conf_rights(c, NULL, &c->repos[0], "x"), RIGHT_ALL);
    assert_false(conf_connector_forced(c, &c->connectors[0]));
    conf_free(&c);
    assert_int_equal(load(GOOD AUTH, &c), 0);
    assert_int_equal(conf_rights(c, NULL, &c->repos[0], "x"), 0);
    assert_int_equal(conf_rights(c, "a", &c->repos[0], "x"), RIGHT_ALL); /* no roles */
    assert_true(conf_connector_forced(c, &c->connectors[0]));
    conf_free(&c);
    assert_int_equal(load(GOOD "auth { htpasswd = /x\nanonymous_may = {}\n"
                               "force_basic_auth = false }\n",
                          &c),
                     0);
    assert_int_equal(c->auth.anonymous_may, 0);
    conf_free(&c);
    assert_int_equal(load(GOOD AUTH "hosted open { force_basic_auth = false }\n"
                                    "connector \"127.0.0.1:2\" { }\n"
                                    "role d { users = {a}\nimages = {\"r:team/**\"}\n"
                                    "may = {pull, push} }\n"
                                    "role all { users = {\"*\"}\nimages = {\"*:any\"}\n"
                                    "may = {delete} }\n",
                          &c),
                     0);
    r = conf_repo_by_name(c, "r", 1);
    open = conf_repo_by_name(c, "open", 4);
    assert_int_equal(conf_rights(c, "a", r, "team/x"), RIGHT_PULL | RIGHT_PUSH);
    assert_int_equal(conf_rights(c, "a", r, "x"), 0);
    assert_int_equal(conf_rights(c, "b", r, "team/x"), 0);
    assert_int_equal(conf_rights(c, "b", r, "any"), RIGHT_DELETE);
    assert_int_equal(conf_rights(c, NULL, r, "any"), 0);
    assert_int_equal(conf_rights(c, NULL, open, "x"), RIGHT_PULL);
    assert_int_equal(conf_rights(c, "b", open, "any"), RIGHT_PULL | RIGHT_DELETE);
    assert_true(conf_connector_forced(c, &c->connectors[0]));
    assert_false(conf_connector_forced(c, &c->connectors[1])); /* reaches both */
    assert_int_equal(conf_connector_open(c, &c->connectors[1]), 0);
    assert_string_equal(rights_text(RIGHT_ALL, text), "pull,push,delete");
    conf_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_all_mistakes),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_proxies_in_front),
        cmocka_unit_test(test_ordinary_mistakes),
        cmocka_unit_test(test_what_is_no_mistake),
        cmocka_unit_test(test_all_mistakes_of_auth_at_once),
        cmocka_unit_test(test_restart_keys),
        cmocka_unit_test(test_restart_differences),
    };

    return cmocka_run_group_tests_name("conf", tests, setup, teardown);
}
