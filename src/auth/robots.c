/*
 * robots.c - robot tokens. Runs in AUTH, which alone reads and writes the file.
 *
 * A line is NAME USER CREATED EXPIRES DIGEST, USER "-" for none. The file is
 * replaced as a whole, so a crash leaves the old one or the new one.
 */
#include "auth/robots.h"

#include "base/file.h"
#include "base/mem.h"
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX (4u << 20)

void robots_add(struct robots *robots, const char *name, const char *user, uint64_t created_s,
                uint64_t expires_s, const struct digest *digest)
{
    robots->list = mem_grow(robots->list, (robots->count + 1) * sizeof(*robots->list));
    robots->list[robots->count++] = (struct robot){.name = mem_strdup(name),
                                                   .user = mem_strdup(user),
                                                   .created_s = created_s,
                                                   .expires_s = expires_s,
                                                   .digest = *digest};
}

/* Cuts a line into exactly `count` words in place. */
static bool cut(char *line, char **words, size_t count)
{
    size_t found = 0;
    char *save;

    for (char *word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        if (found == count)
            return false;
        words[found++] = word;
    }
    return found == count;
}

static bool take_line(struct robots *robots, char *line)
{
    struct digest digest;
    uint64_t created, expires;
    char *words[5];

    if (!cut(line, words, 5) || !conf_user_ok(words[0]) || robots_find(robots, words[0]) ||
        (strcmp(words[1], "-") != 0 && !conf_user_ok(words[1])) ||
        str_parse_u64(words[2], strlen(words[2]), &created) != 0 ||
        str_parse_u64(words[3], strlen(words[3]), &expires) != 0 ||
        digest_parse(words[4], &digest) != 0 || digest.alg != DIGEST_SHA256)
        return false;
    robots_add(robots, words[0], strcmp(words[1], "-") == 0 ? "" : words[1], created, expires,
               &digest);
    return true;
}

int robots_load(const char *path, struct robots *robots_r, struct str *mistakes)
{
    struct str text = {0};
    size_t number = 0;
    char *line, *next;
    int err = file_read_all(path, FILE_MAX, &text);

    *robots_r = (struct robots){0};
    if (err == ERR_NOT_FOUND)
        err = 0;
    else if (err != 0)
        str_printf(mistakes, "%s: cannot read it: %s\n", path, err_text(err));
    for (line = text.data; err == 0 && line && *line; line = next) {
        size_t end = strcspn(line, "\n");

        next = line[end] ? line + end + 1 : NULL;
        line[end] = 0;
        number++;
        if (take_line(robots_r, line))
            continue;
        str_printf(mistakes,
                   "%s:%zu: not a robot's line; restore the file, or remove the line "
                   "and create the token anew\n",
                   path, number);
        err = ERR_INVALID;
    }
    if (err != 0)
        robots_free(robots_r);
    str_free(&text);
    return err;
}

static void robot_clear(struct robot *robot)
{
    free(robot->name);
    free(robot->user);
}

void robots_free(struct robots *robots)
{
    for (size_t i = 0; i < robots->count; i++)
        robot_clear(&robots->list[i]);
    free(robots->list);
    *robots = (struct robots){0};
}

struct robot *robots_find(const struct robots *robots, const char *name)
{
    for (size_t i = 0; i < robots->count; i++)
        if (strcmp(robots->list[i].name, name) == 0)
            return &robots->list[i];
    return NULL;
}

void robots_remove(struct robots *robots, const char *name)
{
    struct robot *robot = robots_find(robots, name);
    size_t place;

    if (!robot)
        return;
    place = (size_t)(robot - robots->list);
    robot_clear(robot);
    memmove(robot, robot + 1, (robots->count - place - 1) * sizeof(*robot));
    robots->count--;
}

bool robots_match(const struct robot *robot, const char *token, uint64_t now_s)
{
    struct digest digest;

    digest_of(DIGEST_SHA256, token, strlen(token), &digest);
    return str_equal_constant_time(digest.bytes, robot->digest.bytes, digest_len(DIGEST_SHA256)) &&
           (robot->expires_s == 0 || now_s < robot->expires_s);
}

void robots_text(const struct robots *robots, struct str *out)
{
    char digest[DIGEST_TEXT_MAX];

    for (size_t i = 0; i < robots->count; i++) {
        const struct robot *robot = &robots->list[i];

        str_printf(out, "%s %s %llu %llu %s\n", robot->name, *robot->user ? robot->user : "-",
                   (unsigned long long)robot->created_s, (unsigned long long)robot->expires_s,
                   digest_text(&robot->digest, digest));
    }
}
