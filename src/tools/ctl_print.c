/*
 * ctl_print.c - tables and sizes for people.
 *
 * Pure.
 */
#include "tools/ctl.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void ctl_cell(struct ctl_table *table, const char *text)
{
    str_append(&table->cells, text, strlen(text) + 1);
    table->count++;
}

void ctl_cellf(struct ctl_table *table, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ctl_cell(table, text);
}

/* "12", "-", "1.5 GiB", "30s", a time; not an id that begins with a digit. */
static bool looks_numeric(const char *text)
{
    if (!*text || !strchr("0123456789-", *text))
        return false;
    for (const char *c = text; *c; c++)
        if (*c >= 'a' && *c <= 'f' && c[1] >= '0' && c[1] <= '9')
            return false;
    return true;
}

void ctl_table_print(struct ctl_table *table)
{
    size_t *widths = mem_alloc_array(table->columns, sizeof(*widths));
    bool *numeric = mem_alloc_array(table->columns, sizeof(*numeric));
    const char *cell = table->cells.data;

    for (size_t i = 0; i < table->columns; i++)
        numeric[i] = true;
    for (size_t i = 0; i < table->count; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->columns, len = strlen(cell);

        if (len > widths[column])
            widths[column] = len;
        if (i >= table->columns && !looks_numeric(cell))
            numeric[column] = false;
    }
    cell = table->cells.data;
    for (size_t i = 0; i < table->count; i++, cell += strlen(cell) + 1) {
        size_t column = i % table->columns;
        bool last = column == table->columns - 1;
        int width = (int)widths[column];

        printf("%*s%s", numeric[column] ? width : last ? 0 : -width, cell, last ? "\n" : "  ");
    }
    free(widths);
    free(numeric);
    str_free(&table->cells);
    table->count = 0;
}

const char *ctl_bytes(unsigned long long bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(out, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

const char *ctl_when(uint64_t seconds, char out[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;

    if (seconds == 0)
        return "never";
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return out;
}
