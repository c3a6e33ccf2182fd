/*
 * ctl_agree.c - entrepotctl asks before what cannot be taken back.
 *
 * Whoever does not say yes, has no terminal to say it at and has not said it before (--yes) is told
 * that nothing was changed; the command ends with CTL_EXIT_NO, whichever it is. Changes nothing.
 */
#include "tools/ctl.h"

#include <stdio.h>
#include <unistd.h>

FILE *ctl_talk(const struct ctl *ctl)
{
    return ctl->json ? stderr : stdout;
}

bool ctl_agreed(const struct ctl *ctl, const char *question)
{
    char answer[16];

    if (!isatty(STDIN_FILENO)) {
        fputs("entrepotctl: nothing was changed: there is no terminal to ask at; add --yes\n",
              stderr);
        return false;
    }
    fprintf(ctl_talk(ctl), "%s [y/N] ", question);
    fflush(ctl_talk(ctl));
    if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
        return true;
    fputs("entrepotctl: nothing was changed: the answer was not yes\n", stderr);
    return false;
}
