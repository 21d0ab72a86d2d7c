#define _GNU_SOURCE
#include "ckv_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// What a started process finds its descriptors under: the first free number after the standard streams.
enum { ckv_first_descriptor = 3, ckv_most_descriptors = 16 };

static int file_actions(posix_spawn_file_actions_t *actions, const int *copies, int count) {
    int error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    // A copy made by dup2 stays open beyond exec.
    for (int i = 0; !error && i < count; i++) {
        error = posix_spawn_file_actions_adddup2(actions, copies[i], ckv_first_descriptor + i);
    }
    if (!error) error = posix_spawn_file_actions_addclosefrom_np(actions, ckv_first_descriptor + count);
    return error;
}

static int attributes(posix_spawnattr_t *wish) {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    // A group of its own: the terminal's Ctrl-C is for the one who started it.
    int error = posix_spawnattr_setflags(
        wish, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    if (!error) error = posix_spawnattr_setpgroup(wish, 0);
    if (!error) error = posix_spawnattr_setsigmask(wish, &none);
    if (!error) error = posix_spawnattr_setsigdefault(wish, &all);
    return error;
}

// The environment with one more variable; freed by the caller, without its strings.
static char **environment(char *variable) {
    size_t count = 0;
    while (environ && environ[count]) count++;
    char **list = malloc((count + 2) * sizeof *list);
    if (!list) return NULL;
    for (size_t i = 0; i < count; i++) list[i] = environ[i];
    list[count] = variable;
    list[count + 1] = NULL;
    return list;
}

static int start(const char *program, const char *const *arguments, const char *variable, const int *descriptors, int count,
                 int32_t *pid) {
    // First out of the way of the numbers that they get, in whatever order these are written.
    int copies[ckv_most_descriptors];
    int made = 0, error = 0;
    for (; made < count; made++) {
        copies[made] = fcntl(descriptors[made], F_DUPFD_CLOEXEC, ckv_first_descriptor + ckv_most_descriptors);
        if (copies[made] < 0) {
            error = errno;
            break;
        }
    }
    char *extra = strdup(variable);
    char **variables = extra ? environment(extra) : NULL;
    if (!error && !variables) error = ENOMEM;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t wish;
    if (!error) error = posix_spawn_file_actions_init(&actions);
    if (!error) {
        error = posix_spawnattr_init(&wish);
        if (!error) {
            error = file_actions(&actions, copies, count);
            if (!error) error = attributes(&wish);
            pid_t child = 0;
            if (!error) error = posix_spawn(&child, program, &actions, &wish, (char *const *)arguments, variables);
            if (!error) *pid = (int32_t)child;
            posix_spawnattr_destroy(&wish);
        }
        posix_spawn_file_actions_destroy(&actions);
    }
    for (int i = 0; i < made; i++) close(copies[i]);
    free(variables);
    free(extra);
    return error;
}

int ckv_process_start(const char *program, const char *const *arguments, const char *variable, const int *descriptors,
                      int count, int32_t *pid, int *lifeline) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    int all[ckv_most_descriptors];
    int error = count < 0 || count >= ckv_most_descriptors ? EINVAL : 0;
    if (!error) {
        all[0] = ends[0];
        memcpy(all + 1, descriptors, (size_t)count * sizeof *all);
        error = start(program, arguments, variable, all, count + 1, pid);
    }
    close(ends[0]);
    if (error) close(ends[1]);
    else *lifeline = ends[1];
    return error;
}

int ckv_process_reap(int32_t pid, int *killed_by, int *exit_code) {
    int status = 0;
    pid_t got;
    do got = waitpid((pid_t)pid, &status, WNOHANG);
    while (got == -1 && errno == EINTR);
    *killed_by = 0;
    *exit_code = 0;
    if (got == 0) return 0;
    if (got < 0) return -1;
    if (WIFSIGNALED(status)) *killed_by = WTERMSIG(status);
    else *exit_code = WEXITSTATUS(status);
    return 1;
}

char ckv_process_state(int32_t pid) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return 0;
    text[length] = 0;
    // "pid (name) state …": the name may hold anything.
    const char *at = strrchr(text, ')');
    return at && at[1] == ' ' ? at[2] : 0;
}

int ckv_process_end_with_parent(void) { return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 ? 0 : errno; }
