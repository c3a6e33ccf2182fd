/*
 * ctl_status.c - entrepotctl status: the processes and what they do.
 *
 * Changes nothing.
 */
#include "base/json.h"
#include "ipc/role.h"
#include "tools/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct role_line {
    const char *role, *state;
    const char *trouble; /* lines; "": none */
    uint32_t slot, pid, generation, restarts;
    uint64_t connections, requests, bytes_in, bytes_out, asks;
};

static void role_read(struct msg_reader *r, struct role_line *line)
{
    line->role = msg_get_str(r, 64);
    line->slot = msg_get_u32(r);
    line->pid = msg_get_u32(r);
    line->generation = msg_get_u32(r);
    line->state = msg_get_str(r, 64);
    line->restarts = msg_get_u32(r);
    line->connections = msg_get_u64(r);
    line->requests = msg_get_u64(r);
    line->bytes_in = msg_get_u64(r);
    line->bytes_out = msg_get_u64(r);
    line->asks = msg_get_u64(r);
    line->trouble = msg_get_str(r, ROLE_TROUBLE_MAX);
}

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

static void trouble_text(const struct role_line *role, struct str *out)
{
    const char *rest = role->trouble, *line;
    size_t len;

    while ((line = next_line(&rest, &len)) != NULL)
        str_printf(out, "%s: %.*s\n", role->role, (int)len, line);
}

static void role_json(const struct role_line *line, struct str *out)
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

static void role_row(const struct role_line *line, struct ctl_table *table)
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
    uint32_t count;

    str_puts(&out, "{\"version\":");
    json_append_string(&out, msg_get_str(r, 64));
    str_printf(&out, ",\"pid\":%u", msg_get_u32(r));
    str_printf(&out, ",\"generation\":%u", msg_get_u32(r));
    str_printf(&out, ",\"uptime_s\":%llu,\"file\":", (unsigned long long)msg_get_u64(r));
    json_append_string(&out, msg_get_str(r, 4096));
    str_puts(&out, ",\"roles\":[");
    count = msg_get_u32(r);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct role_line line;

        role_read(r, &line);
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
    const char *version = msg_get_str(r, 64);
    unsigned pid = msg_get_u32(r), generation = msg_get_u32(r);
    unsigned long long uptime = msg_get_u64(r);
    const char *file = msg_get_str(r, 4096);
    uint32_t count = msg_get_u32(r);
    struct str trouble = {0};

    printf("entrepotd %s, pid %u, up %llu s, configuration %s (generation %u)\n\n", version, pid,
           uptime, file, generation);
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
        ctl_cell(&table, heads[i]);
    for (uint32_t i = 0; i < count && !r->bad; i++) {
        struct role_line line;

        role_read(r, &line);
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
    bool runs = false;
    uint32_t count;

    msg_begin(&question, MSG_CTL_STATUS, 1);
    if (ctl_ask(ctl, &question, &in, &r) != 0) {
        str_free(&in);
        return true;
    }
    msg_get_str(&r, 64); /* version, pid, generation, uptime, file */
    msg_get_u32(&r);
    msg_get_u32(&r);
    msg_get_u64(&r);
    msg_get_str(&r, 4096);
    count = msg_get_u32(&r);
    for (uint32_t i = 0; i < count && !r.bad && !runs; i++) {
        struct role_line line;

        role_read(&r, &line);
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
