#!/usr/bin/env python3
"""How kvcpu slows down where it does not have the CPUs that it has threads for: it should do so in proportion, never collapse.

    python3 Benchmarks/oversubscription.py            # all cases, some three minutes on two CPUs
    python3 Benchmarks/oversubscription.py --rounds 6 --only quota -- -m model.gguf

Runs `kvcpu bench` in turns with more threads than CPUs, beside busy loops, twice at once, and under CPU quotas, and prints each case's fastest and
median times and their ratios to the first row's. Where it may make control groups (as root), all of it runs in one with a large weight, so that other
work on the machine hardly counts; quotas need that.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

V1 = "/sys/fs/cgroup/cpu"
V2 = "/sys/fs/cgroup"


class Groups:
    """A control group for all runs, and one with a quota below it."""

    def __init__(self):
        self.v2 = os.path.exists(f"{V2}/cgroup.controllers")
        self.root = f"{V2 if self.v2 else V1}/kvcpu-oversubscription"
        try:
            os.makedirs(self.root, exist_ok=True)
            if self.v2:
                self.write(V2, "cgroup.subtree_control", "+cpu")
                self.write(self.root, "cgroup.subtree_control", "+cpu")
                self.write(self.root, "cpu.weight", "10000")
            else:
                self.write(self.root, "cpu.shares", "262144")
            for name in ("free", "limited"):
                os.makedirs(f"{self.root}/{name}", exist_ok=True)
            self.usable = True
        except OSError as error:
            print(f"no control groups ({error}): no quotas, and other work on this machine counts", file=sys.stderr)
            self.usable = False

    @staticmethod
    def write(folder, name, text):
        with open(f"{folder}/{name}", "w") as file:
            file.write(text)

    def into(self, quota=None):
        """A command's prefix that moves it to its group; quota in CPUs."""
        if not self.usable:
            return []
        folder = f"{self.root}/{'limited' if quota else 'free'}"
        if quota and self.v2:
            self.write(folder, "cpu.max", f"{int(quota * 100000)} 100000")
        elif quota:
            self.write(folder, "cpu.cfs_period_us", "100000")
            self.write(folder, "cpu.cfs_quota_us", f"{int(quota * 100000)}")
        return ["sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh"]

    def remove(self):
        for name in ("/free", "/limited", ""):
            try:
                os.rmdir(self.root + name)
            except OSError:
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kvcpu", default=".build/release/kvcpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["threads", "neighbour", "quota"])
    parser.add_argument("bench", nargs="*", help="more arguments of kvcpu bench, after --")
    options = parser.parse_args()
    groups = Groups()
    cpus = sorted(os.sched_getaffinity(0))
    one, every = str(cpus[0]), ",".join(map(str, cpus))

    def start(ranks, threads, on, quota):
        return subprocess.Popen(
            groups.into(quota) + ["taskset", "-c", on, options.kvcpu, "bench", "-p", "1024", "-n", "16", "-r", "2", "-o", "json"]
            + ["--plans", "none", "--partition", "even", "--oversubscribe", "--ranks", str(ranks), "-t", str(threads)]
            + options.bench,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def measure(ranks, threads, on=every, quota=None, busy=(), times=1):
        """Seconds of prompt phases and of decoding."""
        loops = [
            subprocess.Popen(groups.into() + ["taskset", "-c", str(cpu), "yes"], stdout=subprocess.DEVNULL) for cpu in busy]
        seconds = {"prefill": [], "decode": []}
        try:
            runs = [start(ranks, threads, on, quota) for _ in range(times)]
            for run in runs:
                output, errors = run.communicate()
                if run.returncode != 0:
                    sys.exit(errors)
                for row in json.loads(output):
                    tokens = row["n_prompt"] or row["n_gen"]
                    seconds["prefill" if row["n_prompt"] else "decode"] += [tokens / speed for speed in row["samples_ts"]]
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
        return seconds

    last = cpus[-1:]
    n = len(cpus)
    cases = {
        "threads": [
            (f"{n} ranks × 1", lambda: measure(n, 1)),
            (f"{n} ranks × 2", lambda: measure(n, 2)),
            (f"{n} ranks × 4", lambda: measure(n, 4)),
            (f"1 rank × {n}", lambda: measure(1, n)),
            (f"1 rank × {2 * n}", lambda: measure(1, 2 * n)),
        ],
        "neighbour": [
            (f"{n} ranks × 1", lambda: measure(n, 1)),
            (f"{n} ranks × 1, one CPU busy", lambda: measure(n, 1, busy=last)),
            (f"{n} ranks × 4, one CPU busy", lambda: measure(n, 4, busy=last)),
            (f"1 rank × {n}, one CPU busy", lambda: measure(1, n, busy=last)),
            (f"{n} ranks × 1, all CPUs busy", lambda: measure(n, 1, busy=cpus)),
            (f"{n} ranks × 1, twice at once", lambda: measure(n, 1, times=2)),
        ],
        "quota": [
            ("1 × 1 on one CPU", lambda: measure(1, 1, on=one)),
            ("1 × 1 on one CPU, half of it", lambda: measure(1, 1, on=one, quota=0.5)),
            ("2 × 1, half a CPU", lambda: measure(2, 1, quota=0.5)),
            ("1 × 2, half a CPU", lambda: measure(1, 2, quota=0.5)),
            ("2 × 4, half a CPU", lambda: measure(2, 4, quota=0.5)),
        ],
    }
    if not groups.usable:
        del cases["quota"]
    print("| case | phase | least ms | ratio | median ms | ratio |\n|---|---|---|---|---|---|")
    for name, rows in cases.items():
        if options.only not in (None, name):
            continue
        samples = [{"prefill": [], "decode": []} for _ in rows]
        for _ in range(options.rounds):
            for (_, run), seen in zip(rows, samples):
                for phase, seconds in run().items():
                    seen[phase] += seconds
        for (label, _), seen in zip(rows, samples):
            for phase, seconds in seen.items():
                first = samples[0][phase]
                least, median = min(seconds), statistics.median(seconds)
                print(
                    f"| {label} | {phase} | {least * 1e3:.0f} | {least / min(first):.2f} | {median * 1e3:.0f} "
                    f"| {median / statistics.median(first):.2f} |", flush=True)
    groups.remove()


if __name__ == "__main__":
    main()
