#!/usr/bin/env python3
"""The chat templates of models with mutated conversations, and what Jinja makes of them, as transformers sets it up.

Usage: mutations.py FIXTURES COUNT SEED > mutations.json, where FIXTURES has NAME/template.jinja and NAME/cases.json
"""
import copy, json, pathlib, random, sys

import differential as d

R = random.Random(int(sys.argv[3]))
VALUES = [None, "", "x", " \n a ", "é e\u0301", 0, 1.5, True, [], {}, [{"type": "text", "text": "part"}], [{"type": "image"}, {"type": "text", "text": " t "}],
          "<|im_end|>", 12345678901234567890, ["a", "b"], {"a": {"b": 1}}, "[INST] x", "<think>a</think>b"]
CALLS = [{"id": "abcdef123", "type": "function", "function": {"name": "f", "arguments": {"x": 1, "é": [1.0, None]}}},
         {"function": {"name": "g", "arguments": "{\"a\": 1}"}}, {"name": "h", "arguments": {}}, {"id": "1", "function": {"name": "f", "arguments": None}}, "no call"]
TOOL = {"type": "function", "function": {"name": "f", "description": "d \"q\" é", "parameters": {"type": "object", "properties": {"x": {"type": "integer", "enum": [1, 2]}}, "required": ["x"]}}}
ROLES = ["user", "assistant", "system", "tool", "ipython", "developer", "", "User", None, 5]


def mutate(messages):
    messages = copy.deepcopy(messages)
    for _ in range(R.randint(1, 3)):
        kind = R.randrange(9)
        if kind == 0 and messages:
            messages.pop(R.randrange(len(messages)))
            continue
        if kind == 1:
            messages.insert(R.randint(0, len(messages)), {"role": R.choice(ROLES[:6]), "content": R.choice(VALUES)})
            continue
        if not messages:
            continue
        message = R.choice(messages)
        if not isinstance(message, dict):
            continue
        if kind == 2 and message:
            message.pop(R.choice(list(message)))
        elif kind == 3:
            message["role"] = R.choice(ROLES)
        elif kind == 4:
            message["content"] = R.choice(VALUES)
        elif kind == 5:
            message["tool_calls"] = [R.choice(CALLS) for _ in range(R.randint(0, 2))]
        elif kind == 6:
            message.update({"role": "tool", "tool_call_id": R.choice(["abcdef123", "1", None]), "name": "f", "content": R.choice(VALUES)})
        elif kind == 7:
            message[R.choice(["name", "tool_calls", "reasoning_content", "items", "tools"])] = R.choice(VALUES)
        else:
            messages[R.randrange(len(messages))] = R.choice(["text", None, {}, {"role": "user"}, {"content": "c"}, ["l"]])
    return messages


def main():
    fixtures, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    names = sorted(path.parent.name for path in fixtures.glob("*/template.jinja"))
    cases = []
    while len(cases) < count:
        name = R.choice(names)
        text = (fixtures / name / "template.jinja").read_text()
        file = json.loads((fixtures / name / "cases.json").read_text())
        case = R.choice(file["cases"])
        variables = {"tools": None, "documents": None, "add_generation_prompt": R.random() < 0.5, "bos_token": file["bos_token"], "eos_token": file["eos_token"], **file["variables"]}
        variables["messages"] = mutate(case["messages"])
        if R.random() < 0.3:
            variables["tools"] = R.choice([[TOOL], [TOOL, TOOL], [], [{"name": "f"}], ["x"]])
        if R.random() < 0.2:
            variables[R.choice(["enable_thinking", "date_string", "custom_tools", "documents", "tools_in_user_message"])] = R.choice(VALUES)
        d.VARIABLES = variables
        saved = d.chat._cached_compile_jinja_template(text)
        try:
            expected, error = saved.render(**variables), None
            expected.encode()
        except Exception as problem:
            expected, error = None, f"{type(problem).__name__}: {problem}"[:80]
        if expected is not None and " at 0x" in expected:
            continue
        cases.append({"template": name, "input": json.dumps({**variables, "now": d.NOW}, ensure_ascii=False), "expected": expected, **({} if error is None else {"error": error})})
    print(json.dumps({"rendered_by": "jinja2 3.1.6 with transformers' environment, by mutations.py", "cases": cases}, ensure_ascii=False, indent=0))


if __name__ == "__main__":
    main()
