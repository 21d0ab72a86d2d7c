#define _GNU_SOURCE
#include "ckv_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int told_end = -1;

static void tell(int number) {
    int saved = errno;
    unsigned char byte = (unsigned char)number;
    // A full pipe has enough to tell.
    ssize_t written = write(told_end, &byte, 1);
    (void)written;
    errno = saved;
}

int ckv_signals_told(const int *signals, int count) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -errno;
    // The handler is never to wait, its reader is.
    if (fcntl(ends[1], F_SETFL, O_NONBLOCK) != 0) return -errno;
    told_end = ends[1];
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = tell;
    action.sa_flags = SA_RESTART;
    for (int i = 0; i < count; i++) {
        struct sigaction before;
        if (sigaction(signals[i], NULL, &before) != 0) return -errno;
        // nohup's wish.
        if (signals[i] == SIGHUP && before.sa_handler == SIG_IGN) continue;
        if (sigaction(signals[i], &action, NULL) != 0) return -errno;
    }
    return ends[0];
}

void ckv_signals_end_by(int number) {
    struct sigaction usual;
    memset(&usual, 0, sizeof usual);
    usual.sa_handler = SIG_DFL;
    sigaction(number, &usual, NULL);
    raise(number);
    _exit(128 + number);
}

int ckv_streams_open(void) {
    for (int stream = 0; stream < 3; stream++) {
        if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest free number, thus this one; reading and writing fail with EBADF as before.
        if (open("/", O_PATH) < 0) return errno;
    }
    return 0;
}

static int argument_count = 0;
static char **argument_values = NULL;

#ifdef __GLIBC__
// glibc hands main's arguments to constructors, too; Swift would read them from /proc, which need not be there.
__attribute__((constructor)) static void keep_arguments(int count, char **values, char **environment) {
    (void)environment;
    argument_count = count;
    argument_values = values;
}
#endif

int ckv_arguments(char ***values) {
    *values = argument_values;
    return argument_count;
}
