/*
 * ctl_status.c - entrepotctl status: the processes and what they do.
 *
 * Changes nothing.
 */
#include "base/json.h"
#include "ipc/msg_operator.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The next line of *rest, which is moved behind it; its length in *len_r. NULL: there is none. */
static const char *next_line(const char **rest, size_t *len_r)
{
    const char *line = *rest;

    if (!*line)
        return NULL;
    *len_r = strcspn(line, "\n");
    *rest += *len_r + (line[*len_r] != 0);
    return line;
}

static void trouble_json(const char *rest, struct str *out)
{
    const char *line;
    bool first = true;
    size_t len;

    str_puts(out, ",\"trouble\":[");
    while ((line = next_line(&rest, &len)) != NULL) {
        struct str text = {0};

        str_append(&text, line, len);
        str_puts(out, first ? "" : ",");
        json_append_string(out, text.data);
        str_free(&text);
        first = false;
    }
    str_putc(out, ']');
}

static void trouble_text(const struct operator_process *role, struct str *out)
{
    const char *rest = role->trouble, *line;
    size_t len;

    while ((line = next_line(&rest, &len)) != NULL)
        str_printf(out, "%s: %.*s\n", role->role, (int)len, line);
}

static void role_json(const struct operator_process *line, struct str *out)
{
    str_puts(out, "{\"role\":");
    json_append_string(out, line->role);
    str_printf(out, ",\"slot\":%u,\"pid\":%u,\"generation\":%u,\"state\":", line->slot, line->pid,
               line->generation);
    json_append_string(out, line->state);
    str_printf(out,
               ",\"restarts\":%u,\"connections\":%llu,\"requests\":%llu,\"bytes_in\":%llu,"
               "\"bytes_out\":%llu,\"asks\":%llu",
               line->restarts, (unsigned long long)line->connections,
               (unsigned long long)line->requests, (unsigned long long)line->bytes_in,
               (unsigned long long)line->bytes_out, (unsigned long long)line->asks);
    trouble_json(line->trouble, out);
    str_putc(out, '}');
}

static void role_row(const struct operator_process *line, struct ctl_table *table)
{
    ctl_cell(table, line->role);
    ctl_cellf(table, "%u", line->slot);
    if (line->pid)
        ctl_cellf(table, "%u", line->pid);
    else
        ctl_cell(table, "-");
    ctl_cellf(table, "%u", line->generation);
    ctl_cell(table, line->state);
    ctl_cellf(table, "%u", line->restarts);
    ctl_cellf(table, "%llu", (unsigned long long)line->connections);
    ctl_cellf(table, "%llu", (unsigned long long)line->requests);
}

static void status_json(struct msg_reader *r)
{
    struct str out = {0};
    struct operator_daemon daemon;
    uint32_t count;

    operator_daemon_get(r, &daemon);
    count = reply_count_get(r);
    str_puts(&out, "{\"version\":");
    json_append_string(&out, daemon.version);
    str_printf(&out, ",\"pid\":%u,\"generation\":%u,\"uptime_s\":%llu,\"file\":", daemon.pid,
               daemon.generation, (unsigned long long)daemon.uptime_s);
    json_append_string(&out, daemon.file);
    str_puts(&out, ",\"roles\":[");
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct operator_process line;

        operator_process_get(r, &line);
        if (i > 0)
            str_putc(&out, ',');
        role_json(&line, &out);
    }
    str_puts(&out, "]}\n");
    fputs(out.data, stdout);
    str_free(&out);
}

static void status_text(struct msg_reader *r)
{
    struct ctl_table table = {.columns = 8};
    static const char *const heads[] = {"ROLE",  "SLOT",     "PID",         "GENERATION",
                                        "STATE", "RESTARTS", "CONNECTIONS", "REQUESTS"};
    struct str trouble = {0};
    struct operator_daemon daemon;
    uint32_t count;

    operator_daemon_get(r, &daemon);
    count = reply_count_get(r);
    printf("entrepotd %s, pid %u, up %llu s, configuration %s (generation %u)\n\n", daemon.version,
           daemon.pid, (unsigned long long)daemon.uptime_s, daemon.file, daemon.generation);
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        ctl_cell(&table, heads[i]);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct operator_process line;

        operator_process_get(r, &line);
        role_row(&line, &table);
        trouble_text(&line, &trouble);
    }
    ctl_table_print(&table);
    if (trouble.len > 0)
        printf("\n%s", trouble.data);
    str_free(&trouble);
}

bool ctl_role_runs(const struct ctl *ctl, const char *role)
{
    struct msg_writer question = {0};
    struct msg_reader r;
    struct str in = {0};
    struct operator_daemon daemon;
    bool runs = false;
    uint32_t count;

    msg_begin(&question, MSG_CTL_STATUS, 1);
    if (ctl_ask(ctl, &question, &in, &r) != 0) {
        str_free(&in);
        return true;
    }
    operator_daemon_get(&r, &daemon);
    count = reply_count_get(&r);
    for (uint32_t i = 0; i < count && !r.bad && !runs; i++) {
        struct operator_process line;

        operator_process_get(&r, &line);
        runs = !r.bad && strcmp(line.role, role) == 0;
    }
    runs = runs || r.bad;
    str_free(&in);
    return runs;
}

int ctl_status(const struct ctl *ctl, int argc, char **argv)
{
    (void)argv;
    return ctl_show(ctl, "status", argc, MSG_CTL_STATUS, status_json, status_text);
}
