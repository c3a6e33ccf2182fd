/*
 * ctl.h - entrepotctl's commands and what they share.
 */
#ifndef ENTREPOT_TOOLS_CTL_H
#define ENTREPOT_TOOLS_CTL_H

#include "base/str.h"
#include "ipc/msg_push.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct conf;

struct ctl {
    const char *run_dir;   /* of the daemon to talk to */
    const char *conf_file; /* for what works without one */
    bool json;
};

/* Of every command that asks: it was not told yes (fsck(8): canceled by the user). */
#define CTL_EXIT_NO 32

/* Each returns the exit status and has written its result or the reason. */
int ctl_status(const struct ctl *ctl, int argc, char **argv);
int ctl_repos(const struct ctl *ctl, int argc, char **argv);
int ctl_images(const struct ctl *ctl, int argc, char **argv);
int ctl_tags(const struct ctl *ctl, int argc, char **argv);
int ctl_gc(const struct ctl *ctl, int argc, char **argv);
int ctl_scrub(const struct ctl *ctl, int argc, char **argv);
int ctl_fetches(const struct ctl *ctl, int argc, char **argv);
int ctl_proxy(const struct ctl *ctl, int argc, char **argv);
int ctl_evict(const struct ctl *ctl, int argc, char **argv);
int ctl_repo(const struct ctl *ctl, int argc, char **argv);
/* repo_move.c: of a stopped daemon */
int ctl_repo_move(const struct ctl *ctl, const char *repo, const char *store);
int ctl_warm(const struct ctl *ctl, int argc, char **argv);
/* Needs no daemon. */
int ctl_cert(const struct ctl *ctl, int argc, char **argv);
int ctl_user(const struct ctl *ctl, int argc, char **argv);
int ctl_token(const struct ctl *ctl, int argc, char **argv);
int ctl_store(const struct ctl *ctl, int argc, char **argv);
int ctl_check_access(const struct ctl *ctl, int argc, char **argv);

/* ctl_status.c: is there a process of that role? True when the master does not tell. */
bool ctl_role_runs(const struct ctl *ctl, const char *role);
/* ctl_conf.c: the configuration; prints its mistakes. */
bool ctl_conf(const struct ctl *ctl, struct conf **conf_r);
/* 0, or CONFLICT, which is told: it looks for images where they are not (conf/holdings.h). 0 also
 * when that is not known. */
must_check int ctl_fits(const struct conf *conf);
/* The group of an account; "" has none. */
void ctl_account_group(const char *name, gid_t *gid_r);
/* fsck.c: root becomes, for good, the account that owns the data. Tells why it cannot. */
must_check int ctl_become_owner(const char *data_dir);
/* Needs no daemon, and refuses while one runs. */
int ctl_rebuild(const struct ctl *ctl, int argc, char **argv);
/* Needs no daemon but its configuration; the exit status says what was found (fsck.h). */
int ctl_fsck(const struct ctl *ctl, int argc, char **argv);

/* ctl_agree.c: where to tell a person what is about to happen: standard output is a program's when
 * it gets JSON. */
FILE *ctl_talk(const struct ctl *ctl);
/* Asks; whatever is not a yes is told. */
bool ctl_agreed(const struct ctl *ctl, const char *question);

/* ctl_ask.c: one question to the role that answers it, waiting for the answer. `in` holds
 * the reply's bytes and is the caller's to free. Why there was no answer is printed, and `in` is
 * empty then; an error that is the answer is the caller's to tell. */
must_check int ctl_ask(const struct ctl *ctl, struct msg_writer *question, struct str *in,
                       struct msg_reader *reply_r);

/* Tells an error that is the answer; nothing when ctl_ask() has told already. */
void ctl_refused(int err, const struct str *in);

/* Asks a question without fields and prints the answer with one of the two; the
 * exit status. `name`: of the command, which takes no arguments. */
int ctl_show(const struct ctl *ctl, const char *name, int argc, enum msg_type type,
             void (*json)(struct msg_reader *reply), void (*text)(struct msg_reader *reply));

/* Printers of an answer that says no more than that something has begun. */
void ctl_started_json(struct msg_reader *reply);
void ctl_started_text(struct msg_reader *reply);

/* ctl_print.c: a table of left- and right-aligned columns for people. */
struct ctl_table {
    struct str cells; /* NUL-terminated, row by row */
    size_t columns, count;
};
void ctl_cell(struct ctl_table *table, const char *text);
__attribute__((format(printf, 2, 3))) void ctl_cellf(struct ctl_table *table, const char *format,
                                                     ...);
/* Prints and frees; columns whose cells all look like numbers are right-aligned. */
void ctl_table_print(struct ctl_table *table);
/* "1.5 GiB" */
const char *ctl_bytes(unsigned long long bytes, char out[32]);
/* "2026-11-25T01:00:00Z", "never" for 0; returns out or a constant. */
const char *ctl_when(uint64_t seconds, char out[32]);

#endif
