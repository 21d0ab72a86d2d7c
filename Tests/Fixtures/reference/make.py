#!/usr/bin/env python3
"""Tiny models of architectures, and what a plain forward pass in float64 makes of them: NAME/{model.gguf, expected.safetensors}.

Written from Hugging Face's modelling code, apart from the engine: it shares nothing with it but the GGUF names. numpy is all it needs.
expected.safetensors: input_ids [T], logits_f64 [T, vocabulary], k_cache and v_cache [layer, head, T, head dimension] (keys after rotation,
in Hugging Face's order), greedy_ids [16] by full recomputation, no two best logits closer than 5e-3.

    python3 make.py [NAME ...]
"""
import json
import math
import pathlib
import struct
import sys

import numpy as np

EPSILON = 1e-5


# ------------------------------------------------------------------------------------------------ files

def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def entry(key, value):
    if isinstance(value, bool): return string(key) + struct.pack("<I?", 7, value)
    if isinstance(value, int): return string(key) + struct.pack("<II", 4, value)
    if isinstance(value, float): return string(key) + struct.pack("<If", 6, value)
    if isinstance(value, str): return string(key) + struct.pack("<I", 8) + string(value)
    return string(key) + struct.pack("<IIQ", 9, 7, len(value)) + bytes(value)  # bools


def q8_0(values):
    """Blocks of 32 columns: a float16 scale and int8 values (ggml's Q8_0)."""
    blocks = np.ascontiguousarray(values, np.float32).reshape(-1, 32)
    scale = (np.abs(blocks).max(-1, keepdims=True) / 127).astype(np.float16)
    whole = np.rint(blocks / np.maximum(scale.astype(np.float32), 1e-30)).clip(-127, 127).astype(np.int8)
    return scale, whole


def rounded(values):
    """What Q8_0 makes of them."""
    scale, whole = q8_0(values)
    return (scale.astype(np.float32) * whole).reshape(values.shape)


def data_of(tensor, kind):
    if kind == 0: return np.ascontiguousarray(tensor, np.float32).tobytes()
    scale, whole = q8_0(tensor)
    return b"".join(s.tobytes() + w.tobytes() for s, w in zip(scale, whole))


def write_gguf(path, metadata, tensors, kinds={}):
    header = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    header += b"".join(entry(key, value) for key, value in metadata.items())
    data = b""
    for name, tensor in tensors.items():
        header += string(name) + struct.pack("<I", tensor.ndim) + b"".join(struct.pack("<Q", d) for d in reversed(tensor.shape))
        header += struct.pack("<IQ", kinds.get(name, 0), len(data))
        data += data_of(tensor, kinds.get(name, 0))
        data += b"\0" * (-len(data) % 32)
    path.write_bytes(header + b"\0" * (-len(header) % 32) + data)


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        bytes_ = np.ascontiguousarray(tensor).tobytes()
        kind = {"float32": "F32", "int64": "I64"}[str(tensor.dtype)]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


# ------------------------------------------------------------------------------------------------ parts

def rms_norm(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight


def layer_norm(x, weight, bias=0):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPSILON) * weight + bias


def silu(x): return x / (1 + np.exp(-x))
def gelu(x): return x * 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))
def gelu_tanh(x): return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def frequencies(dimension, base=10000.0, factors=1):
    return (1 / (factors * base ** (np.arange(0, dimension, 2) / dimension))).astype(np.float32).astype(float), 1.0


def yarn(dimension, factor, original, base=10000.0, fast=32, slow=1):
    plain = frequencies(dimension, base)[0]
    turns = lambda r: dimension * math.log(original / (r * 2 * math.pi)) / (2 * math.log(base))
    low, high = max(math.floor(turns(fast)), 0), min(math.ceil(turns(slow)), dimension - 1)
    ramp = np.clip((np.arange(dimension // 2) - low) / max(0.001, high - low), 0, 1)
    return plain / factor * ramp + plain * (1 - ramp), 0.1 * math.log(factor) + 1


def rotate(x, rope, interleaved):
    """x [heads, T, dimension]; the first elements turn, the rest stay."""
    turn, magnitude = rope
    angle = np.arange(x.shape[1])[:, None] * turn[None]
    cos, sin = np.cos(angle) * magnitude, np.sin(angle) * magnitude
    half = len(turn)
    out = x.copy()
    first, second = (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(0, half), slice(half, 2 * half))
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., second] * cos + x[..., first] * sin
    return out


def attend(query, key, value, scale, window):
    group, positions = len(query) // len(key), np.arange(query.shape[1])
    key, value = np.repeat(key, group, 0), np.repeat(value, group, 0)
    hidden = positions[None] > positions[:, None]
    if window: hidden |= positions[None] <= positions[:, None] - window
    scores = np.where(hidden, -np.inf, query @ key.swapaxes(1, 2) * scale)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ value).transpose(1, 0, 2).reshape(query.shape[1], -1)


class Model:
    layers, width, heads, kv, head, inner, vocabulary, length = 4, 32, 4, 2, 8, 48, 96, 40
    norm, norm_bias, before, after, shared_norm, parallel = "rms", True, True, False, False, False
    head_norm = None            # "one" (for all heads), "own" (each head), "row"
    permuted = interleaved = fused = tied = norms_less_one = False
    biases = ()                 # of "q", "k", "v", "o", "ffn"
    gate, activation = True, staticmethod(silu)
    embedding_scale = residual_scale = logit_scale = 1.0
    score_scale = None
    ropes = None                # each layer's by `rope_of`; None: not turned
    experts = None              # count, used, inner, renormalised
    shared_expert = None        # inner, weighed
    quantised = ()              # tensors that are Q8_0 in the file; "name.N" is expert N's matrix, which the file then has apart
    keys = {}
    extra = {}

    def rope_of(self, layer): return 0
    def window(self, layer): return 0

    def __init__(self, seed, **changes):
        self.__dict__.update(changes)
        self.random = np.random.default_rng(seed)
        self.tensors = {}
        self.ropes = self.ropes or [frequencies(self.head)]
        self.ids = self.random.integers(0, self.vocabulary, self.length).tolist()

    def tensor(self, name, *shape, around=0.0, deviation=0.25):
        if name not in self.tensors:
            values = deviation * self.random.normal(size=shape)
            # Gemma's files hold norms less 1: adding it is the converter's.
            whole = around + values if not self.norms_less_one else np.float32(around) + values.astype(np.float32)
            self.tensors[name] = whole.astype(np.float32)
            for expert in range(shape[0] if "_exps" in name and self.quantised else 0):
                if self.apart(name, expert) in self.quantised:
                    self.tensors[name][expert] = rounded(self.tensors[name][expert])
            if name in self.quantised: self.tensors[name] = rounded(self.tensors[name])
        return self.tensors[name].astype(float)

    @staticmethod
    def apart(name, expert): return name.replace("_exps", f".{expert}")

    def product(self, name, x, rows, bias=False):
        y = x @ self.tensor(name + ".weight", rows, x.shape[-1]).T
        return y + self.tensor(name + ".bias", rows) if bias else y

    def normalise(self, name, x, shape=None, biased=None):
        weight = self.tensor(name + ".weight", *(shape or (x.shape[-1],)), around=1.0)
        if self.norm == "rms": return rms_norm(x, weight)
        biased = self.norm_bias if biased is None else biased
        return layer_norm(x, weight, self.tensor(name + ".bias", x.shape[-1]) if biased else 0)

    def projected(self, block, x, part, heads):
        y = self.product(f"{block}.attn_{part}", x, heads * self.head, part in self.biases)
        norm = f"{block}.attn_{part}_norm" if part != "v" else None
        if norm and self.head_norm == "row": y = self.normalise(norm, y, biased=False)
        y = y.reshape(len(x), heads, self.head)
        if norm and self.head_norm == "one": y = self.normalise(norm, y, biased=False)
        if norm and self.head_norm == "own": y = self.normalise(norm, y, (heads, self.head), False)
        return y.transpose(1, 0, 2)

    def block(self, name, x, inner, suffix="", bias=False):
        up = self.product(f"{name}.ffn_up{suffix}", x, inner, bias)
        act = self.activation
        y = act(self.product(f"{name}.ffn_gate{suffix}", x, inner, bias)) * up if self.gate else act(up)
        return self.product(f"{name}.ffn_down{suffix}", y, self.width, bias)

    def feed_forward(self, name, x):
        if not self.experts: return self.block(name, x, self.inner, bias="ffn" in self.biases)
        count, used, inner, renormalised = self.experts
        scores = x @ self.tensor(name + ".ffn_gate_inp.weight", count, self.width, deviation=0.5).T
        gate = self.tensor(name + ".ffn_gate_exps.weight", count, inner, self.width)
        up = self.tensor(name + ".ffn_up_exps.weight", count, inner, self.width)
        down = self.tensor(name + ".ffn_down_exps.weight", count, self.width, inner)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        out = np.zeros_like(x)
        for token, share in enumerate(shares):
            chosen = np.argsort(-share, kind="stable")[:used]
            total = share[chosen].sum() if renormalised else 1
            for expert in chosen:
                y = silu(gate[expert] @ x[token]) * (up[expert] @ x[token])
                out[token] += share[expert] / total * (down[expert] @ y)
        if self.shared_expert:
            inner, weighed = self.shared_expert
            y = self.block(name, x, inner, "_shexp")
            if weighed: y /= 1 + np.exp(-(x @ self.tensor(name + ".ffn_gate_inp_shexp.weight", self.width)))[:, None]
            out += y
        return out

    def forward(self, ids):
        table = self.tensor("token_embd.weight", self.vocabulary, self.width, deviation=0.7)
        hidden, keys, values = table[ids] * self.embedding_scale, [], []
        for layer in range(self.layers):
            block = f"blk.{layer}"
            x = self.normalise(block + ".attn_norm", hidden) if self.before else hidden
            query, key = self.projected(block, x, "q", self.heads), self.projected(block, x, "k", self.kv)
            value = self.projected(block, x, "v", self.kv)
            rope = self.rope_of(layer)
            if rope is not None:
                query, key = (rotate(y, self.ropes[rope], self.interleaved) for y in (query, key))
            keys.append(key)
            values.append(value)
            attended = attend(query, key, value, self.score_scale or self.head**-0.5, self.window(layer))
            update = self.product(block + ".attn_output", attended, self.width, "o" in self.biases)
            if self.after: update = self.normalise(block + ".post_attention_norm", update)
            if self.parallel:
                y = x if self.shared_norm else self.normalise(block + ".ffn_norm", hidden)
                hidden = hidden + self.residual_scale * (update + self.feed_forward(block, y))
                continue
            hidden = hidden + self.residual_scale * update
            y = self.normalise(block + ".ffn_norm", hidden) if self.before else hidden
            update = self.feed_forward(block, y)
            if self.after: update = self.normalise(block + ".post_ffw_norm", update)
            hidden = hidden + self.residual_scale * update
        x = self.normalise("output_norm", hidden)
        output = table if self.tied else self.tensor("output.weight", self.vocabulary, self.width)
        return x @ output.T * self.logit_scale, np.stack(keys), np.stack(values)

    def greedy(self, count):
        """`count` ids and the least distance of the two best logits."""
        ids, margin = list(self.ids), math.inf
        for _ in range(count):
            logits = self.forward(ids)[0][-1]
            second, first = np.sort(logits)[-2:]
            margin = min(margin, first - second)
            ids.append(int(logits.argmax()))
        return ids[-count:], margin

    def stored(self):
        """The tensors as a converter writes them."""
        out = {}
        for name, tensor in self.tensors.items():
            heads = self.heads if ".attn_q." in name else self.kv if ".attn_k." in name else 0
            if self.permuted and heads:
                tensor = tensor.reshape(heads, 2, self.head // 2, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape)
            if "_exps" in name and self.quantised:
                out |= {self.apart(name, expert): matrix for expert, matrix in enumerate(tensor)}
            else: out[name] = tensor
        for layer in range(self.layers if self.fused else 0):
            name = f"blk.{layer}."
            out[name + "attn_qkv.weight"] = np.concatenate([out.pop(f"{name}attn_{part}.weight") for part in "qkv"])
            out[name + "ffn_up.weight"] = np.concatenate([out.pop(name + f"ffn_{part}.weight") for part in ("gate", "up")])
        return out | self.extra

    def write(self, folder, architecture):
        logits, keys, values = self.forward(self.ids)
        sizes = {
            "context_length": 512, "embedding_length": self.width, "block_count": self.layers, "feed_forward_length": self.inner,
            "attention.head_count": self.heads, "attention.head_count_kv": self.kv, "attention.key_length": self.head,
            "attention.value_length": self.head, "rope.freq_base": 10000.0,
            "attention.layer_norm_rms_epsilon" if self.norm == "rms" else "attention.layer_norm_epsilon": EPSILON,
        }
        if self.experts:
            sizes |= dict(zip(("expert_count", "expert_used_count", "expert_feed_forward_length"), self.experts))
        if self.shared_expert: sizes["expert_shared_feed_forward_length"] = self.shared_expert[0]
        metadata = {"general.architecture": architecture} | {f"{architecture}.{k}": v for k, v in (sizes | self.keys).items()}
        folder.mkdir(exist_ok=True)
        greedy, _ = self.greedy(16)
        write_gguf(folder / "model.gguf", metadata, self.stored(), {name: 8 for name in self.quantised})
        write_safetensors(folder / "expected.safetensors", {
            "input_ids": np.array(self.ids), "logits_f64": logits.astype(np.float32), "k_cache": keys.astype(np.float32),
            "v_cache": values.astype(np.float32), "greedy_ids": np.array(greedy)})


# ------------------------------------------------------------------------------------------------ models

def sliding(layer): return 12 if layer % 4 != 3 else 0


def cases():
    scaled = yarn(8, 4.0, 32)
    yarn_keys = {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 32}
    llama = dict(permuted=True)
    yield "llama-yarn", "llama", llama | dict(ropes=[scaled], keys=yarn_keys)
    yield "llama-linear", "llama", llama | dict(
        ropes=[(frequencies(8)[0] / 3, 1.0)], keys={"rope.scaling.type": "linear", "rope.scaling.factor": 3.0})
    yield "llama-biases", "llama", llama | dict(biases=("q", "k", "v", "o", "ffn"))
    yield "qwen3moe", "qwen3moe", dict(head_norm="one", experts=(6, 3, 24, True))
    yield "smollm3", "smollm3", llama | dict(rope_of=lambda layer: None if layer % 4 == 3 else 0)
    yield "olmo3", "olmo2", dict(
        before=False, after=True, head_norm="row", window=sliding, ropes=[frequencies(8), scaled],
        rope_of=lambda layer: 0 if sliding(layer) else 1,
        keys=yarn_keys | {
            "rope.scaling.yarn_attn_factor": scaled[1], "attention.sliding_window": 12,
            "attention.sliding_window_pattern": [True, True, True, False]})
    scales = dict(embedding_scale=7.0, residual_scale=0.3, logit_scale=1 / 0.4, score_scale=0.11)
    scale_keys = {"embedding_scale": 7.0, "residual_scale": 0.3, "logit_scale": 0.4, "attention.scale": 0.11}
    yield "granite", "granite", llama | scales | dict(tied=True, keys=scale_keys)
    yield "granitemoe", "granitemoe", llama | scales | dict(
        experts=(5, 2, 24, True), shared_expert=(40, False), keys=scale_keys)
    # Formats that differ among experts, among the matrices of one, and among the parts that read one input.
    parts = ["attn_q", "attn_v", "ffn_gate.0", "ffn_up.0", "ffn_down.0", "ffn_gate.1", "ffn_up.2", "ffn_down.3", "ffn_up_shexp"]
    yield "mixed-experts", "qwen2moe", dict(
        biases=("q", "k", "v"), experts=(4, 2, 32, False), shared_expert=(64, True), layers=3, vocabulary=160,
        quantised=[f"blk.{layer}.{part}.weight" for layer in (0, 2) for part in parts]
        + [f"blk.1.{part}.weight" for part in ["ffn_down.2", "ffn_gate.3", "ffn_down_shexp", "attn_output"]])
    cohere = dict(
        norm="layer", norm_bias=False, parallel=True, shared_norm=True, interleaved=True, logit_scale=2.5, tied=True)
    yield "command-r", "command-r", cohere | dict(keys={"logit_scale": 2.5})
    yield "command-r-plus", "command-r", cohere | dict(head_norm="own", keys={"logit_scale": 2.5})
    yield "cohere2", "cohere2", cohere | dict(
        window=sliding, rope_of=lambda layer: 0 if sliding(layer) else None,
        keys={"logit_scale": 2.5, "attention.sliding_window": 12})
    yield "starcoder2", "starcoder2", dict(
        norm="layer", biases=("q", "k", "v", "o", "ffn"), gate=False, activation=gelu_tanh, tied=True)
    partial = dict(norm="layer", ropes=[frequencies(2)])
    yield "stablelm", "stablelm", partial | dict(
        biases=("q", "k", "v"), keys={"rope.dimension_count": 2, "use_parallel_residual": False})
    yield "stablelm-parallel", "stablelm", partial | dict(
        parallel=True, shared_norm=True, head_norm="own", keys={"rope.dimension_count": 2, "use_parallel_residual": True})
    yield "gptneox-sequential", "gptneox", partial | dict(
        biases=("q", "k", "v", "o", "ffn"), gate=False, activation=gelu, kv=4,
        keys={"rope.dimension_count": 2, "use_parallel_residual": False})
    yield "gemma", "gemma", dict(activation=gelu_tanh, embedding_scale=math.sqrt(32), tied=True, norms_less_one=True)
    short, long = np.array([1, 1.1, 1.5, 2], np.float32), np.array([1, 2.5, 4, 7], np.float32)
    for name, factors, original in (("long", long, 32), ("short", short, 256)):
        magnitude = math.sqrt(1 + math.log(512 / original) / math.log(original))
        yield f"phi3-{name}", "phi3", dict(
            fused=True, ropes=[(frequencies(8, factors=factors)[0], magnitude)], window=lambda layer: 10,
            extra={"rope_factors_long.weight": long, "rope_factors_short.weight": short},
            keys={
                "rope.scaling.original_context_length": original, "rope.scaling.attn_factor": magnitude,
                "attention.sliding_window": 10})


for name, architecture, changes in cases():
    if len(sys.argv) > 1 and name not in sys.argv[1:]: continue
    seed = sum(name.encode()) * 100
    while Model(seed, **changes).greedy(16)[1] < 5e-3: seed += 1
    Model(seed, **changes).write(pathlib.Path(__file__).parent / name, architecture)
    print(name, "seed", seed)
