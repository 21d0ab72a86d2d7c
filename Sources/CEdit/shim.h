#include <stdio.h>
#include <editline/readline.h>

/// A line typed at the terminal, with editing and history, or NULL at its end; to be freed. The prompt goes to standard error.
static inline char *cedit_line(const char *prompt) {
    rl_outstream = stderr;
    // The program handles signals; libedit would send them on to the whole process group.
    rl_catch_signals = 0;
    return readline(prompt);
}
