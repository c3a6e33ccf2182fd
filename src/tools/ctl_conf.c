/*
 * ctl_conf.c - the configuration, for commands that work on it without a daemon.
 *
 * Changes nothing.
 */
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/holdings.h"
#include "tools/ctl.h"

#include <pwd.h>
#include <stdio.h>

bool ctl_conf(const struct ctl *ctl, struct conf **conf_r)
{
    struct str mistakes = {0};
    int err = conf_load(ctl->conf_file, conf_r, &mistakes);

    if (err != 0)
        fputs(mistakes.data ? mistakes.data : "entrepotctl: cannot load the configuration\n",
              stderr);
    str_free(&mistakes);
    return err == 0;
}

int ctl_fits(const struct conf *conf)
{
    struct str changed = {0}, unowned = {0};
    struct holdings held;
    int err = 0;

    if (holdings_read(conf->data_dir, &held) != 0)
        return 0;
    holdings_compare(&held, conf, &changed, &unowned);
    if (changed.len > 0) {
        fprintf(stderr, "entrepotctl: images would be looked for where they are not:\n%s",
                changed.data);
        err = ERR_CONFLICT;
    }
    holdings_free(&held);
    str_free(&changed);
    str_free(&unowned);
    return err;
}

void ctl_account_group(const char *name, gid_t *gid_r)
{
    const struct passwd *account = *name ? getpwnam(name) : NULL;

    if (account)
        *gid_r = account->pw_gid;
}
