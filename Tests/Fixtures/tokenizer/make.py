#!/usr/bin/env python3
"""Makes pipelines.json: small tokenizer.json files over combinations of their fields, and what the tokenizers library
(PyPI, 0.23.3) makes of texts with each: ids with and without post-processing, and the text of the ids.

    python3 make.py                      the fixture in the repository
    python3 make.py --seed 7 --random 500 --texts 40 -o /tmp/more.json
                                         other files and texts, for KVCPU_TOKENIZER_PIPELINES of the test

Files that the library itself refuses, and texts at which it fails, are left out.
"""

import argparse
import json
import os
import random
import sys

import tokenizers

CORPUS = (
    "the theory of the these them then there other mother weather the quick brown fox jumps over the lazy dog "
    "hello world hello there 123 456 2024 1999 100 don't can't it's we're I've they'll naïve café déjà vu Grüße "
    "straße ÉCOLE école 日本語 中文 한국어 привет мир the end of the lines and the lines of the end token tokens "
    "tokenizer encode encoded encoding decoder decode UPPER lower Mixed CamelCase snake_case HTTPServer x y z"
).split(" ")

TEXTS = [
    "",
    " ",
    "   ",
    "the theory of these",
    " leading and trailing ",
    "two  spaces   three\t\ttabs\n\nlines\r\nend\n",
    "don't it's WE'RE I'LL 'sup o'clock 'S",
    "Hello World! HTTPServer CamelCase snake_case x_1",
    "123 4567 89012345 3.14 1,000 ½ ² ⅷ ٣٤ Ⅻ",
    "naïve café ÉCOLE Straße ﬁne ＡＢＣ①",
    "nai\u0308ve cafe\u0301 E\u0301COLE \u0301x a\u0323\u0307 a\u0307\u0323 \u1E69 s\u0323\u0307 \u212B \u00C5 \u2126",
    "日本語 中文、漢字。한국어 \u1112\u1161\u11ab カタカナ がぎ か\u3099",
    "👋🏽 👨‍👩‍👧 🇩🇪 ❤️ a\u200db \u200bz\u200b",
    "a\u00a0b\u2003c\u3000d\u1680e\u202ff\u0085g\u2028h\u180ei\ufeffj",
    "\u0000a\u0000 \u0001\u007f\u009f \ufffd",
    "(hello), [world]! a-b—c “q” $5 + 6 = 11 ^~`|<>",
    "<s>the</s> <|im_start|>user\nhi<|im_end|>",
    "the<mask> the <mask>  the\u3000<mask>\u00a0 other",
    "▁the ▁▁ x▁y _a_ ##the the##",
    "İstanbul ΑΣ ΣΑΣ ẞ ǅ ﬀ K \u017ft",
]

PIECES = [
    "the", "The", "THE", " ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2009", "\u200b", "\u200d", "a", "b", "x", "é", "e\u0301",
    "É", "ß", "ﬁ", "Å", "\u212b", "A\u030a", "\u0323", "\u0307", "日本", "中", "한", "\u1112\u1161\u11ab", "が", "か\u3099", "1", "23", "456",
    "½", "²", "٣", ".", ",", "!", "?", "'", "'s", "’t", "-", "—", "(", ")", "$", "+", "=", "_", "<s>", "</s>", "<mask>", "<|im_end|>", "▁", "▁the",
    "##", "</w>", "<unk>", "<0x41>", "👋", "🏽", "👨‍👩‍👧", "❤\ufe0f", "\u0000", "\u007f", "\ufffd", "İ", "Σ", "ς", "tokens", "other", "lines", "Ġ", "Ċ",
    "hello", "World", "don't", "n't", "\u0085", "\u2028", "\ufeff", "ᄒ", "ﷺ", "①", "Ａ", "㍿", "ά", "α\u0301",
]


def byte_alphabet():
    keep = list(range(0x21, 0x7F)) + list(range(0xA1, 0xAD)) + list(range(0xAE, 0x100))
    table, extra = {}, 0
    for byte in range(256):
        if byte in keep:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(0x100 + extra)
            extra += 1
    return table


ALPHABET = byte_alphabet()


def train(words, count, join=lambda a, b: a + b):
    """Merges of the most frequent pairs, ties by text."""
    merges, words = [], [list(word) for word in words]
    for _ in range(count):
        pairs = {}
        for word in words:
            for pair in zip(word, word[1:]):
                pairs[pair] = pairs.get(pair, 0) + 1
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word in words:
            at = 0
            while at + 1 < len(word):
                if (word[at], word[at + 1]) == best:
                    word[at : at + 2] = [join(*best)]
                at += 1
    return merges


def bpe(tokens, merges, join=lambda a, b: a + b, **fields):
    vocabulary = {}
    for token in list(tokens) + [join(*merge) for merge in merges]:
        vocabulary.setdefault(token, len(vocabulary))
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False}
    return model | fields | {"vocab": vocabulary, "merges": [list(merge) for merge in merges]}


SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LETTERS = sorted(set("".join(CORPUS)) | set(" .,!?'-_0123456789()ABCDEFGHIJKLMNOPQRSTUVWXYZ")) + ["e\u0301", "\u0301", "\u0308", "É", "\u212b", "Å"]


def models():
    level = ["".join(ALPHABET[byte] for byte in (" " + word).encode()) for word in CORPUS]
    merges = train(level, 90)
    made = {"level": bpe(SPECIALS + list(ALPHABET.values()), merges)}
    made["level-whole"] = bpe(SPECIALS + list(ALPHABET.values()) + ["Ġhello", "café", "123", "Ġworld"], merges, ignore_merges=True)
    holes = [letter for letter in ALPHABET.values() if letter not in "zxÃġ"]
    made["level-holes"] = bpe(SPECIALS + holes, [m for m in merges if all(c in holes for c in "".join(m))], unk_token="<unk>", fuse_unk=True)
    spaced = ["▁" + word for word in CORPUS]
    merges = train(spaced, 90)
    letters = ["▁"] + [letter for letter in LETTERS if letter != " "]
    made["piece"] = bpe(SPECIALS + BYTES + letters, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    made["piece-nobytes"] = bpe(SPECIALS + BYTES + letters, merges, unk_token="<unk>", fuse_unk=True)
    made["piece-unfused"] = bpe(SPECIALS + letters, merges, unk_token="<unk>")
    made["piece-silent"] = bpe(SPECIALS + letters, merges)
    some = [byte for byte in BYTES if byte not in ("<0xE6>", "<0xF0>", "<0x0A>")]
    made["piece-somebytes"] = bpe(SPECIALS + some + letters, merges, unk_token="<unk>", byte_fallback=True)
    canonical = [("e", "\u0301"), ("c", "a"), ("ca", "f"), ("caf", "é"), ("caf", "e\u0301"), ("A", "\u030a")]
    made["canonical"] = bpe(
        SPECIALS + BYTES + ["▁", "c", "a", "f", "e", "é", "\u0301", "A", "\u030a", "Å", "\u212b", "s", "\u0323", "\u0307", "한", "ᄒ", "ᅡ", "ᆫ"],
        canonical, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    ended = [list(word[:-1]) + [word[-1] + "</w>"] for word in CORPUS if word]
    merges = train(ended, 90)
    made["ended"] = bpe(SPECIALS + LETTERS + [letter + "</w>" for letter in LETTERS], merges, unk_token="<unk>", end_of_word_suffix="</w>")
    inner = [[word[0]] + ["##" + letter for letter in word[1:]] for word in CORPUS if word]
    join = lambda a, b: a + b[2:]
    merges = train(inner, 90, join)
    made["inner"] = bpe(SPECIALS + LETTERS + ["##" + letter for letter in LETTERS], merges, join, unk_token="<unk>", continuing_subword_prefix="##")
    count = {}
    for word in spaced:
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + 6) + 1):
                count[word[start:end]] = count.get(word[start:end], 0) + 1
    pieces = sorted(count, key=lambda piece: (-count[piece] * len(piece), piece))[:220]
    scored = [["<unk>", 0.0], ["<s>", 0.0], ["</s>", 0.0]] + [[piece, -2.0 - index / 37] for index, piece in enumerate(pieces)]
    scored += [[letter, -9.5] for letter in letters if letter not in pieces]
    made["unigram"] = {"type": "Unigram", "unk_id": 0, "vocab": scored, "byte_fallback": False}
    made["unigram-bytes"] = {"type": "Unigram", "unk_id": 0, "vocab": scored + [[byte, -20.0] for byte in BYTES], "byte_fallback": True}
    made["unigram-ties"] = {"type": "Unigram", "unk_id": 1, "vocab": [["▁", -1.0], ["?", -3.0], ["a", -1.0], ["ab", -2.0], ["b", -1.0], ["▁a", -2.0], ["xy", -0.5], ["日本", -4]]}
    return made


def darts():
    """A compiled character map (double array) of a few rules."""
    rules = {"Å": "Å", "\u212b": "Å", "ﬁ": "fi", "①": "1", "\u00a0": " ", "\u3000": " ", "Ａ": "A", "e\u0301": "é", "\u0301": "", "\n": " ", "㍿": "株式会社"}
    blob, offsets = b"", {}
    for text in rules.values():
        if text not in offsets:
            offsets[text] = len(blob)
            blob += text.encode() + b"\0"
    root = {}
    for key, text in rules.items():
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[None] = offsets[text]
    units, used = [0], {0}

    def place(node, index):
        labels = [0 if byte is None else byte for byte in node]
        base = 1
        while any((base ^ label) in used for label in labels) or (base ^ index) >= 1 << 21 or base in taken:
            base += 1
        taken.add(base)
        while len(units) <= base | 0xFF:
            units.append(0)
        units[index] |= (base ^ index) << 10
        if None in node:
            units[index] |= 1 << 8
        for label in labels:
            used.add(base ^ label)
        for byte, child in node.items():
            if byte is None:
                units[base] = child | 1 << 31
            else:
                units[base ^ byte] |= byte
        for byte, child in sorted((b, c) for b, c in node.items() if b is not None):
            place(child, base ^ byte)

    taken = set()
    place(root, 0)
    import base64
    import struct

    trie = b"".join(struct.pack("<I", unit) for unit in units)
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + blob).decode()


LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+"
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
REGEXES = [
    LLAMA3, CL100K, O200K, r"\d{1,3}(?=(\d{3})*\b)|\D+", r"\w+|[^\w\s]+", r"\s+", r" ", r"(?=[A-Z])", r"\b", r"^|$", r"[\r\n]", r"x*", r"\p{Han}+",
    r"[一-龥぀-ゟ゠-ヿ]+", r"\h+", r"[^\S\n]+", r"(?m:a.b)", r"\p{^L}", r"[[:punct:]]+", r"[[:alpha:]]+", r"(\w)\1", r"(?<=\s)\S", r"(?<!\w)th", r"\p{L}{2}+", r"e{,2}t",
    r"[\w-]+", r"\u0041|\x41|\t", r".", r"\W", r"\d", r"(?i)THE", r"\S+", r"\v", r"(?<word>the)", r"the(?=ory)|o", r"a|", r"[^\n]+|[\n]+", r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def split(pattern, behavior="Isolated", invert=False, regex=True):
    return {"type": "Split", "pattern": {"Regex" if regex else "String": pattern}, "behavior": behavior, "invert": invert}


def level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def metaspace(scheme="always", split=True, replacement="▁"):
    return {"type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": split}


def replace(pattern, content, regex=False):
    return {"type": "Replace", "pattern": {"Regex" if regex else "String": pattern}, "content": content}


def sequence(kind, items):
    if not items:
        return None
    return items[0] if len(items) == 1 else {"type": "Sequence", kind: items}


def strip(left, right):
    return {"type": "Strip", "strip_left": left, "strip_right": right}


def added(content, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": 0, "content": content} | base | flags


def template(before=(), behind=()):
    ids = {token: index for index, token in enumerate(SPECIALS)}
    pieces = [{"SpecialToken": {"id": token, "type_id": 0}} for token in before] + [{"Sequence": {"id": "A", "type_id": 0}}]
    pieces += [{"SpecialToken": {"id": token, "type_id": 0}} for token in behind]
    tokens = {token: {"id": token, "ids": [ids[token]], "tokens": [token]} for token in (*before, *behind)}
    pair = [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": pieces, "pair": pair, "special_tokens": tokens}


LLAMA_DECODER = [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]
DECODERS = [
    [], LLAMA_DECODER, [level(True)], [metaspace()], [metaspace("never")], [{"type": "WordPiece", "prefix": "##", "cleanup": True}],
    [{"type": "BPEDecoder", "suffix": "</w>"}], [replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}], [{"type": "Fuse"}],
    [replace("▁", " "), {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 2, "stop": 0}],
    [{"type": "Fuse"}, replace("▁", " ")], [{"type": "WordPiece", "prefix": "##", "cleanup": False}],
]


def normalizers():
    simple = ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]
    made = [{"type": name} for name in simple] + [strip(True, True), strip(True, False), strip(False, True)]
    made += [{"type": "Prepend", "prepend": "▁"}, {"type": "Prepend", "prepend": "ab"}, replace(" ", "▁"), replace(r" {2,}", "▁", True)]
    made += [replace(r"\s+", " ", True), replace("the", ""), replace(r"x+", "-", True), replace("e\u0301", "é"), replace(r"^\s+|\s+$", "", True)]
    made += [{"type": "Precompiled", "precompiled_charsmap": darts()}]
    made += [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}]
    made += [{"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": False, "strip_accents": True, "lowercase": False}]
    return made


def pretokenizers():
    made = [level(), level(True), level(False, False), level(True, False), {"type": "WhitespaceSplit"}, {"type": "Whitespace"}, {"type": "BertPreTokenizer"}]
    made += [metaspace(scheme, cut) for scheme in ("always", "first", "never") for cut in (True, False)] + [metaspace("always", True, "_")]
    made += [{"type": "Digits", "individual_digits": flag} for flag in (True, False)] + [{"type": "FixedLength", "length": 3}]
    made += [{"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS]
    made += [{"type": "CharDelimiterSplit", "delimiter": delimiter} for delimiter in ("e", "▁")]
    made += [split("the", behavior, invert, False) for behavior in BEHAVIORS for invert in (False, True)]
    made += [split(regex) for regex in REGEXES] + [split(r"\s|e", behavior, invert) for behavior in BEHAVIORS for invert in (False, True)]
    return made


def some_added(rng):
    contents = ["<mask>", "the", "x", " ", "  ", "▁", "é", "e\u0301", "É", "日本", "</w>", "\n", "a b", "Ġ", "THE", "1", "<s>the", "_a", "\u3000"]
    tokens = []
    for content in rng.sample(contents, rng.randint(0, 4)):
        flags = {name: rng.random() < 0.3 for name in ("single_word", "lstrip", "rstrip")}
        tokens.append(added(content, normalized=rng.random() < 0.5, special=rng.random() < 0.4, **flags))
    return tokens


def tokenizer(model, normalizer=(), pre=(), tokens=(), post=None, decoder=()):
    specials = [added(token) for token in SPECIALS if token in (model["vocab"] if isinstance(model["vocab"], dict) else ["<s>", "</s>", "<unk>"])]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": specials + list(tokens),
        "normalizer": sequence("normalizers", list(normalizer)), "pre_tokenizer": sequence("pretokenizers", list(pre)),
        "post_processor": post, "decoder": sequence("decoders", list(decoder)), "model": "@",
    }


def systematic(made):
    """Every step alone, on a model that shows it, and every flag of an added token."""
    for index, step in enumerate(normalizers()):
        name = "piece" if step["type"] != "ByteLevel" else "level"
        yield name, tokenizer(made[name], [step], decoder=LLAMA_DECODER)
        if index % 3 == 0:
            yield "unigram", tokenizer(made["unigram"], [step], [metaspace("first")], decoder=[metaspace("first")])
    for index, step in enumerate(pretokenizers()):
        bytes_follow = step["type"] in ("Split", "Digits", "Punctuation", "Whitespace")
        if bytes_follow:
            yield "level", tokenizer(made["level"], [], [step, level(False, index % 2 == 0)], decoder=[level(True)])
        else:
            name = "level" if step["type"] == "ByteLevel" else "piece"
            yield name, tokenizer(made[name], [], [step], decoder=[level(True)] if name == "level" else LLAMA_DECODER)
    for name in made:
        pre = [level()] if name.startswith("level") else [{"type": "Whitespace"}] if name in ("ended", "inner") else [metaspace()]
        for decoder in ([level(True)], LLAMA_DECODER) if name.startswith("level") else DECODERS[:5]:
            yield name, tokenizer(made[name], [], pre, decoder=decoder)
    for content in ("the", "<mask>", "é"):
        for flag in ("single_word", "lstrip", "rstrip", "normalized"):
            for normalizer in ([], [{"type": "NFC"}, {"type": "Lowercase"}]):
                token = added(content, **{"special": False, flag: True})
                yield "level", tokenizer(made["level"], normalizer, [level()], [token], decoder=[level(True)])
    posts = [template(["<s>"]), template(["<s>", "<|im_start|>"], ["</s>"]), template([], ["<|im_end|>", "</s>"]), level(True)]
    posts += [{"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": True, "add_prefix_space": False}]
    posts += [{"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]}]
    posts += [{"type": "Sequence", "processors": [level(True), template(["<s>"], ["</s>"])]}]
    posts += [{"type": "Sequence", "processors": [template(["<s>"], ["</s>"]), level(True)]}]
    for post in posts:
        yield "level", tokenizer(made["level"], [], [level()], post=post, decoder=[level(True)])


def randomly(made, rng):
    name = rng.choice(list(made))
    normalizer = rng.sample(normalizers(), rng.choice([0, 0, 1, 1, 2, 3]))
    pre = rng.sample(pretokenizers(), rng.choice([0, 1, 1, 2, 3]))
    if name.startswith("level") and rng.random() < 0.8:
        pre = [step for step in pre if step["type"] != "ByteLevel"] + [level(rng.random() < 0.2, rng.random() < 0.5)]
    post = rng.choice([None, None, template(["<s>"], ["</s>"] if rng.random() < 0.5 else [])])
    return name, tokenizer(made[name], normalizer, pre, some_added(rng), post, rng.choice(DECODERS))


def random_text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14)))


def attempt(work):
    """None where the library fails, be it by a panic of its own."""
    try:
        return work()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def judged(file, model, texts):
    whole = json.dumps(file | {"model": model}, ensure_ascii=False)
    library = attempt(lambda: tokenizers.Tokenizer.from_str(whole))
    if library is None:
        return None
    written = [token["content"] for token in file["added_tokens"] if token["normalized"]]
    if library.normalizer:
        changed = [attempt(lambda: library.normalizer.normalize_str(content)) for content in written]
        # Of two tokens that are one in normalised text the library takes any.
        if len(set(changed)) < len(changed):
            return None
        if "" in changed:
            return None
    steps = file["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    firsts = [index for index, step in enumerate(steps) if step.get("prepend_scheme") == "first"]
    changing = library.normalizer or any(step["type"] in ("ByteLevel", "Metaspace") for step in steps[: max(firsts, default=0)])
    if max(firsts, default=0) > 0 and changing:
        return None  # refused by name: which pieces stem from the first character the library knows by its alignments alone
    rows = []
    for index, text in enumerate(texts):
        encoded = attempt(lambda: library.encode(text).ids)
        if encoded is None:
            continue
        plain = library.encode(text, add_special_tokens=False).ids
        shown = [attempt(lambda: library.decode(plain, skip_special_tokens=skip)) for skip in (False, True)]
        if shown[1] == shown[0]:
            shown.pop()
        rows.append({"text": index, "ids": encoded} | ({"plain": plain} if plain != encoded else {}) | {"shown": shown})
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--random", type=int, default=60, help="how many random files")
    parser.add_argument("--texts", type=int, default=0, help="how many random texts beside the listed ones")
    parser.add_argument("--no-systematic", action="store_true")
    parser.add_argument("-o", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "pipelines.json"))
    options = parser.parse_args()
    rng = random.Random(options.seed)
    made = models()
    texts = TEXTS + [random_text(rng) for _ in range(options.texts)]
    files = [] if options.no_systematic else list(systematic(made))
    files += [randomly(made, rng) for _ in range(options.random)]
    folders = []
    for name, file in files:
        rows = judged(file, made[name], texts)
        if rows:
            folders.append({"model": name, "file": json.dumps(file, ensure_ascii=False), "rows": rows})
    blocks = {name: json.dumps(model, ensure_ascii=False, separators=(",", ":")) for name, model in made.items()}
    used = {folder["model"] for folder in folders}
    result = {
        "made_by": f"make.py with tokenizers {tokenizers.__version__}", "models": {n: b for n, b in blocks.items() if n in used},
        "texts": texts, "folders": folders,
    }
    with open(options.o, "w") as output:
        json.dump(result, output, ensure_ascii=False, separators=(",", ":"))
        output.write("\n")
    print(len(folders), "files", sum(len(folder["rows"]) for folder in folders), "texts", os.path.getsize(options.o), "bytes", file=sys.stderr)


main()
