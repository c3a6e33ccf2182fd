/*
 * trouble.c - what the catalog cannot do at present, for entrepotctl status.
 *
 * Runs in the catalog whenever database or stores were tried. Owns nothing: the master keeps what
 * it is told for as long as this process lives.
 */
#include "catalog/trouble.h"

#include "catalog/lacks.h"

#include <errno.h>

/* Why the database is closed, and what opens it. */
static const char *why_closed(const struct catalog *c)
{
    if (lacks_any(c))
        return "the database lacks changes that a blob store's journal has: stop entrepotd, then "
               "entrepotctl rebuild";
    if (c->refusal == ERR_INCOMPLETE)
        return "the database is damaged: stop entrepotd, then entrepotctl rebuild";
    if (c->opening_other)
        return "the database that was open is gone, or another has its place: bring it back";
    if (c->opening_told == EACCES || c->opening_told == EPERM)
        return "the database belongs to another account: give data_dir with all in it to the one "
               "of user (chown -R)";
    if (c->opening_told != 0)
        return "the database's disk cannot be written: make room, or mount it writable";
    return "the database cannot be opened: the log tells why";
}

static const char *what_is_served(const struct catalog *c)
{
    if (!c->index.header)
        return "all requests are answered 503";
    return atomic_load(&c->index.header->state) == INDEX_PARTIAL
               ? "pulls of what can be read are served, all else is answered 503"
               : "pulls are served, changes are refused";
}

void trouble_tell(const struct catalog *c)
{
    struct str text = {0};

    str_puts(&text, "");
    if (!c->db)
        str_printf(&text, "%s; meanwhile %s\n", why_closed(c), what_is_served(c));
    for (size_t i = 0; i < c->conf->store_count; i++)
        if (c->elsewhere[i])
            str_printf(&text,
                       "the path of blobstore %s leads elsewhere: bring its disk or directory "
                       "back to %s, then reload; meanwhile pulls are served, pushes are answered "
                       "503\n",
                       c->conf->stores[i].name, c->conf->stores[i].path);
        else if (!store_is_open(c->stores[i]))
            str_printf(&text,
                       "blobstore %s cannot be used: entrepotctl store list and the log tell why; "
                       "meanwhile what needs it is answered 503\n",
                       c->conf->stores[i].name);
    role_trouble(c->role, text.data);
    str_free(&text);
}
