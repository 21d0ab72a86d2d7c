#!/usr/bin/env python3
"""NAME/model.gguf of the models beside it, as llama.cpp's own converter makes it (`conversion` and `gguf-py` of its repository).

Left out are models that it refuses, and those whose file would not say what they compute (windows, scales and norms that GGUF has no key for
there). The vocabulary is a list of names: these models have no tokenizer. Made with the llama.cpp in llama-cpp-python 0.3.36:

    python3 convert.py LLAMA_CPP [NAME ...]
"""
import json
import logging
import pathlib
import sys

root = sys.argv[1]
sys.path[:0] = [root, root + "/gguf-py"]
import gguf
import torch
from conversion import get_model_class
from conversion.base import ModelBase

LEFT_OUT = {
    "command-r-plus", "gemma2", "gemma2-uncapped", "gemma3", "gptneox-sequential", "mistral-window", "mixtral", "qwen2moe-normed",
    "qwen3moe-some-dense", "stablelm-parallel", "starcoder2",
}
here = pathlib.Path(__file__).parent


def hyperparameters(folder, is_mistral_format=False):
    """Fields under the names of transformers 4, which the converter looks for."""
    fields = json.loads((folder / "config.json").read_text())
    part = fields.get("rope_parameters", {}).get("partial_rotary_factor", 1)
    fields.setdefault("rotary_pct", part)
    if fields["model_type"] == "falcon" and not fields["new_decoder_architecture"]:
        fields["num_kv_heads"] = 1
    return fields


def vocabulary(model):
    count = model.hparams["vocab_size"]
    model.gguf_writer.add_tokenizer_model("gpt2")
    model.gguf_writer.add_tokenizer_pre("default")
    model.gguf_writer.add_token_list([f"token{index}" for index in range(count)])
    model.gguf_writer.add_token_types([gguf.TokenType.NORMAL] * count)
    model.gguf_writer.add_token_merges(["t o"])


ModelBase.load_hparams = staticmethod(hyperparameters)
logging.disable(logging.WARNING)
for name in sys.argv[2:] or sorted(path.parent.name for path in here.glob("*/config.json")):
    if name in LEFT_OUT:
        continue
    folder = here / name
    kind = get_model_class(hyperparameters(folder)["architectures"][0], mmproj=False)
    kind.set_vocab = vocabulary
    with torch.inference_mode():
        kind(folder, gguf.LlamaFileType.MOSTLY_BF16, folder / "model.gguf", model_name=name).write()
    print(name)
