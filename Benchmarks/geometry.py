#!/usr/bin/env python3
"""Writes a GGUF of a known model's geometry with seeded random weights, for measurements beside other engines.

  pip install gguf numpy;  Benchmarks/geometry.py llama-7b --layers 4 -o /tmp/llama-7b-4.f16.gguf
  llama-quantize /tmp/llama-7b-4.f16.gguf /tmp/llama-7b-4.q4_0.gguf Q4_0

No tokenizer is in it (tokenizer.ggml.model = no_vocab): token ids are given as numbers. Weights are normal with a deviation of
1/sqrt(columns), so that activations keep their size through the layers.
"""
import argparse

import gguf
import numpy as np

# layers, width, heads, key/value heads, feed-forward width, vocabulary
GEOMETRIES = {
    "llama-7b": (32, 4096, 32, 32, 11008, 32000),
    "llama3-8b": (32, 4096, 32, 8, 14336, 128256),
    "llama-13b": (40, 5120, 40, 40, 13824, 32000),
    "smollm2-135m": (30, 576, 9, 3, 1536, 49152),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("geometry", choices=GEOMETRIES)
    parser.add_argument("--layers", type=int, help="fewer than the model has")
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", required=True)
    args = parser.parse_args()
    layers, width, heads, kv_heads, feed_forward, vocabulary = GEOMETRIES[args.geometry]
    layers = args.layers or layers
    random = np.random.default_rng(args.seed)

    writer = gguf.GGUFWriter(args.output, "llama")
    writer.add_name(f"{args.geometry}, {layers} layers, random weights")
    writer.add_block_count(layers)
    writer.add_context_length(args.context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("no_vocab")

    def matrix(name, rows, columns):
        values = random.standard_normal((rows, columns), dtype=np.float32) / np.float32(columns) ** 0.5
        writer.add_tensor(name, values.astype(np.float16))

    matrix("token_embd.weight", vocabulary, width)
    for layer in range(layers):
        block = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{block}{norm}.weight", np.ones(width, np.float32))
        matrix(block + "attn_q.weight", width, width)
        matrix(block + "attn_k.weight", width * kv_heads // heads, width)
        matrix(block + "attn_v.weight", width * kv_heads // heads, width)
        matrix(block + "attn_output.weight", width, width)
        matrix(block + "ffn_gate.weight", feed_forward, width)
        matrix(block + "ffn_up.weight", feed_forward, width)
        matrix(block + "ffn_down.weight", width, feed_forward)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    matrix("output.weight", vocabulary, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
