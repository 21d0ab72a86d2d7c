#!/usr/bin/env python3
"""Tiny models of every class that a folder may hold, as Hugging Face transformers saves them, and what transformers itself computes with them
in float64: NAME/{config.json, model.safetensors, expected.safetensors}.

Weights are random, in bfloat16, large enough that every part of a layer matters. expected.safetensors: input_ids [T], logits_f64 [T, vocabulary],
greedy_ids [16] by full recomputation, no two best logits closer than 5e-3. Made with transformers 5.23.0 and torch 2.15.0:

    python3 make.py [NAME ...]
"""
import copy
import json
import math
import pathlib
import sys

import torch
import transformers as hf
from safetensors.torch import save_file

VOCABULARY, TOKENS, STEPS = 64, 24, 16
COMMON = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0)
FALCON = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, bias=False, alibi=False)
EXPERTS = dict(num_experts=6, moe_intermediate_size=24)
GRANITE = dict(embedding_multiplier=7.0, residual_multiplier=0.3, logits_scaling=0.4, attention_multiplier=0.11)
SLIDES = dict(num_hidden_layers=4, layer_types=["sliding_attention"] * 3 + ["full_attention"], sliding_window=9)
LONG = dict(short_factor=[1.0, 1.1, 1.5, 2.0], long_factor=[1.0, 2.5, 4.0, 7.0])


def rope(**fields):
    return dict(rope_parameters=dict(rope_theta=10000.0, **fields))


def yarn(**fields):
    return rope(rope_type="yarn", factor=4.0, original_max_position_embeddings=32, **fields)


def longrope(original, factors=LONG, **fields):
    return dict(original_max_position_embeddings=original) | rope(
        rope_type="longrope", original_max_position_embeddings=original, **factors, **fields)


# By name: the configuration's class, and what differs from COMMON.
MODELS = {
    "llama": (hf.LlamaConfig, {}),
    "llama-tied-biases": (hf.LlamaConfig, dict(tie_word_embeddings=True, attention_bias=True, mlp_bias=True)),
    "llama-head-dim": (hf.LlamaConfig, dict(head_dim=16)),
    "llama-3": (hf.LlamaConfig, rope(
        rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)),
    "llama-linear": (hf.LlamaConfig, rope(rope_type="linear", factor=4.0)),
    "llama-yarn": (hf.LlamaConfig, yarn()),
    "llama-yarn-betas": (hf.LlamaConfig, yarn(beta_fast=16.0, beta_slow=2.0, attention_factor=1.3)),
    "mistral": (hf.MistralConfig, dict(sliding_window=None, head_dim=16)),
    "mistral-window": (hf.MistralConfig, dict(sliding_window=9)),
    "mixtral": (hf.MixtralConfig, dict(num_local_experts=6, num_experts_per_tok=3, sliding_window=10)),
    "qwen2": (hf.Qwen2Config, {}),
    "qwen2-yarn-tied": (hf.Qwen2Config, dict(tie_word_embeddings=True) | yarn()),
    "qwen2moe": (hf.Qwen2MoeConfig, EXPERTS | dict(num_experts_per_tok=2, shared_expert_intermediate_size=40)),
    "qwen2moe-normed": (hf.Qwen2MoeConfig, EXPERTS | dict(
        num_experts_per_tok=2, shared_expert_intermediate_size=40, norm_topk_prob=True)),
    "qwen3": (hf.Qwen3Config, dict(head_dim=16)),
    "qwen3moe": (hf.Qwen3MoeConfig, EXPERTS | dict(head_dim=16, num_experts_per_tok=3, norm_topk_prob=True)),
    "qwen3moe-some-dense": (hf.Qwen3MoeConfig, EXPERTS | dict(
        head_dim=16, num_experts_per_tok=3, norm_topk_prob=False, mlp_only_layers=[1])),
    "olmo2": (hf.Olmo2Config, {}),
    "olmo3": (hf.Olmo3Config, SLIDES | yarn()),
    "phi3": (hf.Phi3Config, dict(sliding_window=9, original_max_position_embeddings=512)),
    "phi3-short": (hf.Phi3Config, longrope(256)),
    "phi3-long": (hf.Phi3Config, longrope(16)),
    "phi4-mini": (hf.Phi3Config, dict(tie_word_embeddings=True, partial_rotary_factor=0.5) | longrope(
        16, dict(short_factor=[1.0, 1.5], long_factor=[1.0, 4.0]), partial_rotary_factor=0.5)),
    "gemma": (hf.GemmaConfig, dict(head_dim=16)),
    "gemma2": (hf.Gemma2Config, dict(head_dim=16, query_pre_attn_scalar=12, sliding_window=9)),
    "gemma2-uncapped": (hf.Gemma2Config, dict(
        head_dim=16, query_pre_attn_scalar=16, sliding_window=9, attn_logit_softcapping=None, final_logit_softcapping=None)),
    "gemma3": (hf.Gemma3TextConfig, dict(
        num_hidden_layers=7, head_dim=16, query_pre_attn_scalar=12, sliding_window=9, final_logit_softcapping=10.0)),
    "granite": (hf.GraniteConfig, GRANITE | dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "granitemoe": (hf.GraniteMoeConfig, GRANITE | dict(num_local_experts=5, num_experts_per_tok=2)),
    "granitemoe-shared": (hf.GraniteMoeSharedConfig, GRANITE | dict(
        num_local_experts=5, num_experts_per_tok=2, shared_intermediate_size=40)),
    "granite4": (hf.GraniteMoeHybridConfig, GRANITE | dict(
        num_local_experts=0, num_experts_per_tok=0, shared_intermediate_size=40, layer_types=["attention"] * 2,
        position_embedding_type="rope", mamba_n_heads=4, mamba_d_head=16)),
    "smollm3": (hf.SmolLM3Config, dict(num_hidden_layers=4)),
    "command-r": (hf.CohereConfig, dict(logit_scale=0.25)),
    "command-r-plus": (hf.CohereConfig, dict(logit_scale=0.25, use_qk_norm=True, tie_word_embeddings=False)),
    "cohere2": (hf.Cohere2Config, dict(logit_scale=0.25) | SLIDES),
    "starcoder2": (hf.Starcoder2Config, dict(sliding_window=9)),
    "starcoder2-no-biases": (hf.Starcoder2Config, dict(sliding_window=None, use_bias=False, tie_word_embeddings=False)),
    "stablelm": (hf.StableLmConfig, dict(use_qkv_bias=True, partial_rotary_factor=0.5)),
    "stablelm-parallel": (hf.StableLmConfig, dict(use_parallel_residual=True, qk_layernorm=True)),
    "falcon-7b": (hf.FalconConfig, FALCON | dict(multi_query=True, parallel_attn=True, new_decoder_architecture=False)),
    "falcon-11b": (hf.FalconConfig, FALCON | dict(
        num_kv_heads=2, new_decoder_architecture=True, num_ln_in_parallel_attn=1, tie_word_embeddings=False)),
    "falcon-40b": (hf.FalconConfig, FALCON | dict(num_kv_heads=2, new_decoder_architecture=True)),
    "gptneox": (hf.GPTNeoXConfig, dict(rotary_pct=0.25)),
    "gptneox-sequential": (hf.GPTNeoXConfig, dict(rotary_pct=0.5, use_parallel_residual=False, hidden_act="gelu_fast")),
}


def randomise(model):
    for name, value in model.named_parameters():
        noise = torch.randn_like(value)
        if "norm" in name or ".ln_" in name:
            value.copy_(0.2 * noise + (0 if name.endswith("bias") else value))
        elif name.endswith("bias"):
            value.copy_(0.3 * noise)
        elif "embed" in name:
            value.copy_(noise)
        else:
            value.copy_(noise * 1.3 / math.sqrt(value.shape[-1]))


def make(name, folder):
    configuration, fields = MODELS[name]
    fields = fields if configuration is hf.FalconConfig else COMMON | fields
    for seed in range(100):
        torch.manual_seed(seed)
        config = configuration(**fields)
        # Grouped products have no float64.
        config._experts_implementation = "eager"
        model = hf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        randomise(model)
        # The weights alone: rotary frequencies stay float32.
        for value in model.parameters():
            value.copy_(value.bfloat16())
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
        model = model.double()
        ids = torch.randint(3, VOCABULARY, (1, TOKENS))
        logits = model(ids, use_cache=False).logits[0]
        text, gap = ids, math.inf
        for _ in range(STEPS):
            best = torch.topk(model(text, use_cache=False).logits[0, -1], 2)
            gap = min(gap, float(best.values[0] - best.values[1]))
            text = torch.cat([text, best.indices[:1][None]], 1)
        if gap > 5e-3 and torch.isfinite(logits).all():
            break
    else:
        raise SystemExit(f"{name}: no seed without a tie")
    save_file(
        {"input_ids": ids[0].contiguous(), "logits_f64": logits.float().contiguous(),
         "greedy_ids": text[0, TOKENS:].contiguous()}, folder / "expected.safetensors")
    (folder / "generation_config.json").unlink(missing_ok=True)
    if name == "granite4":
        # As the published files have it, which transformers 4 wrote.
        fields = json.loads((folder / "config.json").read_text())
        fields["layer_types"] = ["attention"] * len(fields["layer_types"])
        (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
    print(f"{name}: seed {seed}, logits' range {float(logits.max() - logits.min()):.2f}, smallest gap {gap:.4f}")


if __name__ == "__main__":
    here = pathlib.Path(__file__).parent
    with torch.no_grad():
        for name in sys.argv[1:] or MODELS:
            make(name, here / name)
