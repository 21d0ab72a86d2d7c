// Linux calls that Swift cannot express: futex, affinity, memory policy, sealed memfd, processes, pause.
//
// Calls that can fail return 0 or a positive errno value; nothing here prints, aborts or keeps state,
// save for the one handle of libnuma, which is looked for once.
#ifndef CKV_LINUX_H
#define CKV_LINUX_H

#include <stddef.h>
#include <stdint.h>

/// Tells the core that this is a spin loop (x86 pause, Arm yield).
static inline void ckv_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Sleeps while *word == expected, at most timeout_ns (UINT64_MAX: until woken). `shared` is non-zero when
/// the word lies in memory shared with other processes. Returns for any reason: the caller looks again.
void ckv_futex_wait(const void *word, uint32_t expected, uint64_t timeout_ns, int shared);

/// Wakes every sleeper on the word.
void ckv_futex_wake_all(const void *word, int shared);

/// Lets reads of a mapped file beyond the end that it has by then give zeros, and notes that, where they would end the process by SIGBUS; faults
/// elsewhere go to the handler that was there before. Returns a place for the next two, -1 when there are too many mappings.
int ckv_mapping_watch(const void *base, size_t size);

/// Non-zero once something has been read beyond the file's end.
int ckv_mapping_is_damaged(int place);

/// Before the mapping ends.
void ckv_mapping_forget(int place);

/// Nanoseconds of CLOCK_MONOTONIC: the same clock in every process of the machine.
uint64_t ckv_monotonic_ns(void);

/// Writes up to `capacity` ids of the CPUs the calling thread may run on, ascending. Returns how many there
/// are (may exceed capacity) or a negative errno.
int ckv_affinity_get(int32_t *cpus, int capacity);

/// Lets the calling thread run on these CPUs only.
int ckv_affinity_set(const int32_t *cpus, int count);

/// The CPU the calling thread is on now, or a negative errno.
int ckv_current_cpu(void);
/// The calling thread's id, as in /proc/self/task.
int32_t ckv_thread_id(void);

/// Names the calling thread (cut to 15 bytes), as seen by perf and top.
void ckv_thread_name_set(const char *name);
/// Writes the calling thread's name into 16 bytes.
void ckv_thread_name_get(char *name);

/// Pages first touched by the calling thread come from this node while it has free ones (MPOL_PREFERRED).
int ckv_memory_policy_prefer(int node);
/// Back to the system's policy for the calling thread.
int ckv_memory_policy_default(void);
/// The same preference for a page-aligned range, whoever touches it first; moves pages already there.
int ckv_memory_prefer(void *address, size_t bytes, int node);
/// Spreads a page-aligned range over the nodes in turns, whoever touches it first; moves pages already there.
int ckv_memory_interleave(void *address, size_t bytes, const int32_t *nodes, int count);
/// Asks for huge pages in a page-aligned range.
int ckv_memory_huge(void *address, size_t bytes);
/// Node of the page that holds `address`; -1 if it is not there yet or the kernel does not say.
int ckv_memory_node_of(const void *address);
/// Adds the pages of a range to `per_node[node]` (nodes below `capacity`), those that nobody has touched yet to `absent`, and those of which
/// the kernel tells nothing to `unknown`. Moves nothing, makes nothing; where the memory is `shared`, what other processes have touched counts.
int ckv_memory_residence(
    const void *address, size_t bytes, int shared, uint64_t *per_node, int capacity, uint64_t *absent, uint64_t *unknown);

/// 1 if libnuma.so.1 is there and says that this machine has NUMA; 0 if it says no; -1 without the library.
int ckv_libnuma_available(void);
/// The highest node id known to libnuma, or -1.
int ckv_libnuma_max_node(void);

/// An anonymous memory file of this many bytes that can neither shrink nor grow (close-on-exec).
/// Returns the descriptor or a negative errno.
int ckv_memfd(const char *name, size_t bytes);

/// The same without bytes as yet: to be enlarged by ftruncate, and sealed once it is complete.
int ckv_memfd_growing(const char *name);
/// From now on the file can neither shrink nor grow. Returns 0 or a positive errno.
int ckv_memfd_seal(int file);

/// Starts a program that finds the end of a pipe as its descriptor 3, `descriptors` as 4, 5, …, and no others but the standard
/// streams (of which the input is empty); in a process group of its own, with no signal blocked or ignored, and `variable`
/// ("NAME=value") added to the environment. `arguments` ends with NULL. The pipe's other end is `*lifeline`, the caller's: when it
/// is closed, the program's end has its end of file. At most 15 descriptors. Returns 0 or a positive errno; 0 also after 100 ms, when
/// the child may not be the program yet (it is stopped, or the machine is busy).
int ckv_process_start(const char *program, const char *const *arguments, const char *variable, const int *descriptors,
                      int count, int32_t *pid, int *lifeline);

/// Asks whether a child has ended. Returns 0 while it runs, 1 if it has ended just now (the signal or
/// exit code is told), -1 if it is no child of ours any more.
int ckv_process_reap(int32_t pid, int *killed_by, int *exit_code);

/// From now on this process is killed, also while it is stopped, when the thread that has started it ends (whose process may live
/// on). Returns 0 or a positive errno.
int ckv_process_end_with_parent(void);

/// The state of a process as /proc says it: R, S, D (runs or waits), T, t (stopped), Z, X (ended); 0 if there is none.
char ckv_process_state(int32_t pid);

/// Start time of a process in clock ticks since boot; 0 if it has ended (or waits to be reaped).
/// With the pid it names a process for good: pids come back, start times do not.
uint64_t ckv_process_start_time(int32_t pid);

/// From now on these signals (SIGHUP unless it is ignored) do nothing but send a byte, their number, through a pipe, whose end for
/// reading is returned (close-on-exec), or a negative errno. System calls under way are restarted. Once in a process.
int ckv_signals_told(const int *signals, int count);
/// Ends this process as the signal does where nobody handles it.
_Noreturn void ckv_signals_end_by(int number);

/// Gives those of the descriptors 0, 1 and 2 that are closed to something that can neither be read nor written (EBADF), so that no file
/// that is opened later becomes a standard stream. Returns 0 or a positive errno.
int ckv_streams_open(void);

/// Starts so many threads beside each other, with the usual attributes, and ends them. Returns how many could be started; `*error` is the
/// errno of the one that could not, or 0. Some 20 µs a thread.
int ckv_threads_startable(int count, int *error);

/// How many further descriptors, at most `count` and 64, this process can open.
int ckv_descriptors_free(int count);

/// The process's arguments as main has them (with glibc): their number, and where they are; 0 where they are not known.
int ckv_arguments(char ***values);

#endif
