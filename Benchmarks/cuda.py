#!/usr/bin/env python3
"""Checks and measures ranks on a CUDA device, beside PyTorch and Hugging Face transformers on the same one.

    make portable
    python3 Benchmarks/cuda.py --kvcpu .build-portable/kvcpu/kvcpu > cuda.md

Needs numpy; torch and transformers for what is beside them, compute-sanitizer for the memory checks (each left out, with a line, where it is
not there). Ends with 1 where something does not hold that is to hold. Steps: fixtures, sanitizer, speed, simulate; all unless --steps names some.
"""
import argparse
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import time

import numpy

ARGUMENTS = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
ARGUMENTS.add_argument("--kvcpu", default=".build/release/kvcpu")
ARGUMENTS.add_argument("--fixtures", default=os.path.join(os.path.dirname(__file__), "..", "Tests", "Fixtures"))
ARGUMENTS.add_argument("--smollm2", help="the default model's file, for its fixture")
ARGUMENTS.add_argument("--device", default="cuda:0")
ARGUMENTS.add_argument("--steps", default="fixtures,sanitizer,speed,simulate")
ARGUMENTS.add_argument("--model", default="llama-7b,type=bf16", help="the synthetic model that is timed")
ARGUMENTS.add_argument("--lengths", default="4096,16384")
ARGUMENTS.add_argument("--rounds", type=int, default=3)
OPTIONS = ARGUMENTS.parse_args()
FAILURES = []

# Llama-7B: what transformers is given, and what a token costs in products.
GEOMETRY = dict(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, vocab_size=32000)


def must(holds, text):
    print(("holds: " if holds else "DOES NOT HOLD: ") + text, flush=True)
    if not holds:
        FAILURES.append(text)


def tensors(path):
    """A safetensors file."""
    types = {"F32": numpy.float32, "F64": numpy.float64, "I64": numpy.int64, "I32": numpy.int32}
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, entry in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = (8 + size + offset for offset in entry["data_offsets"])
            found[name] = numpy.frombuffer(data[begin:end], types[entry["dtype"]]).reshape(entry["shape"])
    return found


def kvcpu(*arguments, before=(), **options):
    return subprocess.run([*before, OPTIONS.kvcpu, *map(str, arguments)], capture_output=True, text=True, timeout=540, **options)


def dump(model, ids, ranks, greedy, before=()):
    path = f"/tmp/kvcpu-cuda-{os.getpid()}.safetensors"
    run = kvcpu(
        "dump", "-m", model, "--tokens", ",".join(map(str, ids)), "--greedy", greedy, "-o", path, "--device", OPTIONS.device,
        "--ranks", ranks, "--partition", "even", before=before)
    if run.returncode:
        return None, run
    found = tensors(path)
    os.remove(path)
    return found, run


def check_fixture(name, model):
    expected = tensors(os.path.join(OPTIONS.fixtures, name, "expected.safetensors"))
    ids = expected["input_ids"].ravel()
    greedy = expected["greedy_ids"].ravel()
    whole = "logits_f64" in expected
    truth = expected["logits_f64" if whole else "logits"]
    first = None
    for ranks in (1, 2, 4):
        found, run = dump(model, ids, ranks, len(greedy))
        if found is None:
            must(False, f"{name}, {ranks} ranks: {run.stderr.strip()[-300:]}")
            return
        logits = found["logits"] if whole else found["logits"][expected["positions"].ravel()]
        truth = truth.reshape(logits.shape)
        error = abs(logits - truth).max() / (truth.max() - truth.min())
        same = next((i for i, pair in enumerate(zip(found["greedy_ids"], greedy)) if pair[0] != pair[1]), len(greedy))
        first = first or found
        spread = max(abs(found[part] - first[part]).max() / abs(first[part]).max() for part in ("key", "value"))
        must(
            error < 0.02 and spread < 0.02,
            f"{name}, {ranks} ranks: logits {error:.5f} of their range, caches {spread:.5f} beside one rank's, "
            f"{same} of {len(greedy)} greedy ids")


def fixtures():
    print("\n## Fixtures: below 2 % of the logits' range\n")
    names = sorted(
        name for name in os.listdir(OPTIONS.fixtures) if os.path.exists(os.path.join(OPTIONS.fixtures, name, "model.gguf")))
    for name in names:
        check_fixture(name, os.path.join(OPTIONS.fixtures, name, "model.gguf"))
    if OPTIONS.smollm2:
        check_fixture("smollm2", OPTIONS.smollm2)
    else:
        print("smollm2: left out, no --smollm2")


def sanitizer():
    print("\n## compute-sanitizer\n")
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(tool):
        print("left out: there is no compute-sanitizer")
        return
    model = os.path.join(OPTIONS.fixtures, "llama-gqa", "model.gguf")
    for check in ("memcheck", "racecheck"):
        found, run = dump(model, range(3, 60), 2, 4, before=(tool, "--tool", check, "--error-exitcode", "9"))
        summary = [line for line in (run.stdout + run.stderr).splitlines() if "SUMMARY" in line]
        must(found is not None and run.returncode == 0, f"{check}: {'; '.join(summary) or run.stderr.strip()[-300:]}")


def prefills(lengths):
    """Seconds of one prompt by (length, ranks), the median of the command's own repetitions."""
    run = kvcpu(
        "bench", "--synthetic", OPTIONS.model, "-p", ",".join(map(str, lengths)), "-n", 0, "-r", 3, "--ranks", "1,2,4", "--device",
        OPTIONS.device, "-o", "json")
    if run.returncode:
        must(False, f"bench: {run.stderr.strip()[-300:]}")
        return {}
    return {(row["n_prompt"], row["ranks"]): row["n_prompt"] / statistics.median(row["samples_ts"]) for row in json.loads(run.stdout)}


def speed():
    print("\n## Speed\n")
    try:
        import torch
        import transformers
    except ImportError as error:
        print(f"left out: {error}")
        return
    rate = matrix_rate(torch)
    config = transformers.LlamaConfig(max_position_embeddings=32768, num_key_value_heads=32, **GEOMETRY)
    with torch.device("cuda"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").eval()
    lengths = list(map(int, OPTIONS.lengths.split(",")))
    prompts = {length: torch.randint(0, 32000, (1, length), device="cuda") for length in lengths}

    def transformers_once(length):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.no_grad():
            model(prompts[length], use_cache=True, logits_to_keep=1).logits.argmax(-1).item()
        return time.perf_counter() - start

    for length in lengths:
        transformers_once(length)
    # In turns, round by round.
    rounds = []
    for _ in range(OPTIONS.rounds):
        theirs = {length: statistics.median(transformers_once(length) for _ in range(3)) for length in lengths}
        rounds.append((prefills(lengths), theirs))
        if not rounds[-1][0]:
            return
    for length in lengths:
        ours = {ranks: [mine[length, ranks] for mine, _ in rounds] for ranks in (1, 2, 4)}
        theirs = [other[length] for _, other in rounds]
        report(length, ours, theirs, rate)
    del model
    torch.cuda.empty_cache()


def report(length, ours, theirs, rate):
    best, beside = statistics.median(ours[1]), statistics.median(theirs)
    work = operations(length)
    print(f"{length} tokens, ms: kvcpu {[round(t * 1e3, 1) for t in ours[1]]}, transformers {[round(t * 1e3, 1) for t in theirs]}")
    must(best <= beside, f"{length}: kvcpu's TTFT is {best / beside:.2f} of transformers'")
    must(work / best >= 0.5 * rate, f"{length}: {work / best / 1e12:.0f} TFLOP/s, {work / best / rate:.2f} of the matrix rate")
    for ranks in (2, 4):
        ratio = statistics.median(b / a for a, b in zip(ours[1], ours[ranks]))
        must(ratio <= 1.1, f"{length}: {ranks} ranks on one device take {ratio:.3f} of one rank's time")


def operations(length):
    """Of a prompt: products of all layers, and causal attention."""
    width, inner, layers = GEOMETRY["hidden_size"], GEOMETRY["intermediate_size"], GEOMETRY["num_hidden_layers"]
    return layers * (2 * length * (4 * width * width + 3 * width * inner) + 2 * length * length * width)


def matrix_rate(torch):
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    times = []
    for _ in range(10):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        a @ b
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e-3)
    rate = 2 * 8192**3 / statistics.median(times)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: bf16 products of 8192 at {rate / 1e12:.0f} TFLOP/s")
    return rate


def simulate():
    print("\n## Simulated: several devices, by the costs of chunks on this one\n")
    for link in ("300GB/s,5us", "10GB/s,20us"):
        run = kvcpu(
            "plan", "--synthetic", OPTIONS.model, "--simulate", "--ranks", "2,4,8", "--lengths", OPTIONS.lengths, "--link", link,
            "--device", OPTIONS.device)
        print(run.stdout if run.returncode == 0 else f"failed: {run.stderr.strip()[-500:]}")


if __name__ == "__main__":
    print(kvcpu("inspect", "--device", OPTIONS.device).stdout)
    for step in OPTIONS.steps.split(","):
        {"fixtures": fixtures, "sanitizer": sanitizer, "speed": speed, "simulate": simulate}[step]()
    print(f"\n{len(FAILURES)} of the above do not hold")
    sys.exit(1 if FAILURES else 0)
