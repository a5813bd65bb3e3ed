import assert from "node:assert/strict";
import { test } from "node:test";
import { RequestError, UnsupportedError } from "../errors.ts";
import { type ChatMessage, createChatTemplate } from "./chat-template.ts";
import { formatTime } from "./template-functions.ts";

const CHAT: readonly ChatMessage[] = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "1 + 1?" },
  { role: "assistant", content: "  2\n", reasoning: "One and one.\n" },
  { role: "user", content: "<think>a</think>\n\n b" },
];

test("the constructs of published templates render as Jinja renders them", () => {
  // Expected texts by Python's jinja2 3.1 with trim_blocks, lstrip_blocks and loopcontrols.
  const cases: readonly (readonly [string, string])[] = [
    [
      "{%- for message in messages %}\n    {%- if loop.first and message.role != 'system' %}{{ bos_token }}{% endif %}\n{{ '<|' + message['role'] + '|>\\n' + message['content'] | trim + eos_token }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n{{- '<|assistant|>' }}\n{%- endif %}",
      "<|system|>\nBe brief.</s><|user|>\n1 + 1?</s><|assistant|>\n2</s><|user|>\n<think>a</think>\n\n b</s><|assistant|>",
    ],
    [
      "{% set ns = namespace(last=-1) %}{% for m in messages[::-1] %}{% set i = (messages|length - 1) - loop.index0 %}{% if m.role == 'user' and ns.last < 0 %}{% set ns.last = i %}{% endif %}{% endfor %}{{ ns.last }}{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% if loop.index0 > 2 %}{% break %}{% endif %}[{{ m.reasoning_content | default('none') }}]{% endfor %}",
      "3[none][One and one.\n]",
    ],
    [
      "{{ messages[3].content.split('</think>')[-1].lstrip('\\n') }}|{{ messages[2].content.rstrip('\\n') }}|{{ 'xxaxx'.strip('x') }}",
      " b|  2|a",
    ],
    ["{{ {'a': [1, 2.5, none, true], 'b': 'é\"'} | tojson }}", '{"a": [1, 2.5, null, true], "b": "é\\""}'],
    [
      "{%- macro turn(role, text='-') -%}<{{ role }}>{{ text }}</{{ role }}>{%- endmacro -%}{{ turn('a') }}{{ turn('b', text='c') }}",
      "<a>-</a><b>c</b>",
    ],
    [
      "{{ 'a-b-c'.replace('-', '+') }}{{ 'aXa' | replace('a', 'bb') }}{{ 'x y' | upper }}{{ range(3) | join(',') }}",
      "a+b+cbbXbbX Y0,1,2",
    ],
    [
      "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ 'mapping' if messages[0] is mapping else '' }}{{ 'none' if tools is none }}",
      "2mappingnone",
    ],
    [
      "{% if tools %}tools{% elif messages[0]['role'] == 'system' and 'brief' in messages[0].content %}brief{% else %}no{% endif %}",
      "brief",
    ],
  ];
  for (const [source, expected] of cases) {
    assert.equal(createChatTemplate(source, { bos: "<s>", eos: "</s>" }).render(CHAT).value, expected, source);
  }
});

test("variables reach the template and may replace what is there", () => {
  const template = createChatTemplate("{{ enable_thinking }} {{ strftime_now('%Y') }} {{ add_generation_prompt }}");
  assert.equal(
    template.render(CHAT, {
      addGenerationPrompt: false,
      variables: { enable_thinking: false, strftime_now: () => "1999" },
    }).value,
    "false 1999 false",
  );
});

test("time is formatted as Python does, in English", () => {
  const time = new Date(2026, 0, 5, 13, 7, 9);
  assert.equal(
    formatTime(time, "%d %b %Y, %A %B %-d, %H:%M:%S %I %p %y%% %q"),
    "05 Jan 2026, Monday January 5, 13:07:09 01 PM 26% %q",
  );
});

test("a template refuses messages by raise_exception", () => {
  const template = createChatTemplate("{{ raise_exception('Roles must alternate') }}");
  assert.throws(
    () => template.render(CHAT),
    (error) => error instanceof RequestError && error.message.includes("Roles must alternate"),
  );
});

test("a model without a template says so", () => {
  assert.throws(
    () => createChatTemplate(undefined).render(CHAT),
    (error) => error instanceof RequestError && error.message.includes("--raw"),
  );
});

test("malformed templates are errors", () => {
  for (const source of [
    "{% if %}",
    "{{ a",
    "{% for x in %}{% endfor %}",
    `{{ ${"(".repeat(50_000)} }}`,
    "x".repeat(300_000),
  ]) {
    assert.throws(() => createChatTemplate(source).render(CHAT), UnsupportedError);
  }
});

test("hostile templates end early, with a clear error", { timeout: 60_000 }, () => {
  const grow = "{% set ns = namespace(s='x') %}{% for i in range(18) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
  const loop = "{% for i in range(9999) %}";
  const cases: readonly (readonly [string, RegExp])[] = [
    ["{% for i in range(10**9) %}x{% endfor %}", /range\(\)/],
    ["{% for i in range(1, 10**9, 2) %}x{% endfor %}", /range\(\)/],
    [`${loop}${loop}${loop}x{% endfor %}{% endfor %}{% endfor %}`, /steps/],
    [`${loop}${loop}${loop}{% endfor %}{% endfor %}{% endfor %}`, /steps/],
    [`${loop}${loop}{{ unknown }}{% endfor %}{% endfor %}`, /steps/],
    ["{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}", /steps/],
    ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", /chat template failed/],
    [
      "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
      /characters/,
    ],
    [
      "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('x', 'xx') %}{% endfor %}{{ ns.s }}",
      /characters/,
    ],
    [`${grow}{{ ns.s | replace('x', ns.s) }}`, /characters/],
    [`${grow}{% set f = ns.s.replace %}{{ f('x', ns.s) }}`, /method/],
    [`${grow}{{ ns.s['replace']('x', ns.s) }}`, /method/],
    [`${grow}{% filter replace('x', ns.s) %}x{% endfilter %}`, /replace/],
    [`${grow}{{ range(9999) | join(ns.s) }}`, /separator/],
    [`${grow}${loop}{% if 'y' in ns.s %}{% endif %}{% endfor %}`, /steps/],
    [`${grow}${loop}{% set y = ns.s[1:] %}{% endfor %}`, /steps/],
    [
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
      /characters/,
    ],
    ["{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", /deep/],
    ["{% set a = namespace() %}{% set b = namespace() %}{% set b.x = [a, a] %}{{ b.x }}", /namespace/],
    ["{{ 'a' | indent(10**9, true) }}", /indents/],
    ["{{ [[1]] | tojson(indent=10**9) }}", /indents/],
    ["{{ [1, 2] | join(*['a']) }}", /spreads/],
    ["{{ [].constructor.constructor('return process')().exit() }}", /chat template failed/],
  ];
  for (const [source, expected] of cases) {
    assert.throws(
      () => createChatTemplate(source).render(CHAT),
      (error) => error instanceof UnsupportedError && expected.test(error.message),
      source,
    );
  }
});

test("long chats stay within the bounds", () => {
  const template = createChatTemplate("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}");
  const messages: ChatMessage[] = Array.from({ length: 5000 }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: "word ".repeat(200),
  }));
  messages.push({ role: "user", content: "x".repeat(2_000_000) });
  assert.ok(template.render(messages).length > 7_000_000);
});
