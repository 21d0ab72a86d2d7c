#define _GNU_SOURCE
#include "ckv_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

// What a started process finds its descriptors under: the first free number after the standard streams.
enum { ckv_first_descriptor = 3, ckv_most_descriptors = 16 };

// How long a child may take from its beginning to its program until it is left to those who supervise it.
enum { ckv_exec_ms = 100 };

// The child's part: nothing but system calls, since other threads may have held locks when it was copied. All signals are blocked.
static _Noreturn void become(const char *program, const char *const *arguments, char *const *variables, const int *copies,
                             int count, int report) {
    struct sigaction usual;
    memset(&usual, 0, sizeof usual);
    usual.sa_handler = SIG_DFL;
    // Those that cannot be set stay as they are.
    for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &usual, NULL);
    sigset_t none;
    sigemptyset(&none);
    int input = open("/dev/null", O_RDONLY);
    int last = ckv_first_descriptor + count;
    // A group of its own: the terminal's Ctrl-C is for the one who started it.
    int failed = setpgid(0, 0) != 0 || input < 0 || dup2(input, 0) < 0;
    // A copy made by dup2 stays open beyond exec.
    for (int i = 0; !failed && i < count; i++) failed = dup2(copies[i], ckv_first_descriptor + i) < 0;
    if (!failed && report != last) {
        failed = dup3(report, last, O_CLOEXEC) < 0;
        if (!failed) report = last;
    }
    if (!failed) {
        closefrom(last + 1);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execve(program, (char *const *)arguments, variables);
    }
    int error = errno;
    while (write(report, &error, sizeof error) < 0 && errno == EINTR) {}
    _exit(127);
}

// fork, as vfork's caller (thus posix_spawn's) waits for the child's exec however long, and a child that is stopped before it comes to no end.
// Tells the errno of a child that could not become the program, 0 of one that has, or has not yet after `ckv_exec_ms`.
static int fork_and_exec(const char *program, const char *const *arguments, char *const *variables, const int *copies, int count,
                         pid_t *child) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return errno;
    // Out of the way of the child's numbers.
    int report = fcntl(ends[1], F_DUPFD_CLOEXEC, ckv_first_descriptor + ckv_most_descriptors);
    int error = report < 0 ? errno : 0;
    close(ends[1]);
    if (error) {
        close(ends[0]);
        return error;
    }
    // No handler of this process is to run in the child.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    *child = fork();
    if (*child == 0) become(program, arguments, variables, copies, count, report);
    if (*child < 0) error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report);
    if (!error) {
        struct pollfd done = {.fd = ends[0], .events = POLLIN};
        int found, told = 0;
        do found = poll(&done, 1, ckv_exec_ms);
        while (found < 0 && errno == EINTR);
        if (found > 0 && read(ends[0], &told, sizeof told) == sizeof told) {
            error = told;
            kill(*child, SIGKILL);
            while (waitpid(*child, NULL, 0) < 0 && errno == EINTR) {}
        }
    }
    close(ends[0]);
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
    pid_t child = 0;
    if (!error) error = fork_and_exec(program, arguments, variables, copies, made, &child);
    if (!error) *pid = (int32_t)child;
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
