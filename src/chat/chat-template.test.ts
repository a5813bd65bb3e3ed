import assert from "node:assert/strict";
import { test } from "node:test";
import { MillraceError, RequestError, UnsupportedError } from "../errors.ts";
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
    "False 1999 False",
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

test("messages are checked, and named where they are wrong", () => {
  const template = createChatTemplate("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}");
  const parts = {
    role: "user",
    content: [
      { type: "text", text: "a" },
      { type: "text", text: "b" },
    ],
  } as const;
  assert.equal(template.render([parts]).value, "user:ab;");
  const cases: readonly (readonly [unknown, RegExp])[] = [
    [undefined, /messages must be a list .* not nothing/],
    ["Hi", /messages must be a list .* not a text/],
    [{ role: "user", content: "Hi" }, /messages must be a list/],
    [[], /at least one message/],
    [[null], /messages\[0\] must be an object/],
    [[["user", "Hi"]], /messages\[0\] must be an object/],
    [[CHAT[0], { role: "user" }], /messages\[1\]\.content must be a text, not nothing/],
    [[{ role: "user", content: null }], /messages\[0\]\.content must be a text, not null/],
    [[{ role: "user", content: 5 }], /messages\[0\]\.content must be a text, not a number/],
    [[{ role: "user", content: [{ type: "image_url" }] }], /messages\[0\]\.content\[0\] .* "image_url"/],
    [[{ role: "user", content: ["a"] }], /messages\[0\]\.content\[0\]/],
    [[{ role: "developer", content: "a" }], /messages\[0\]\.role must be one of .* not "developer"/],
    [[{ role: "constructor", content: "a" }], /messages\[0\]\.role/],
    [[{ content: "a" }], /messages\[0\]\.role .* not nothing/],
    [[{ role: "user", content: "a", name: {} }], /messages\[0\]\.name must be a text, not an object/],
    [[{ role: "assistant", content: "a", reasoning: 1 }], /messages\[0\]\.reasoning must be a text/],
    [[{ role: "user", content: "a".repeat(9_000_000) }], /9000000 characters/],
  ];
  for (const [messages, expected] of cases) {
    assert.throws(
      () => template.render(messages as readonly ChatMessage[]),
      (error) => error instanceof RequestError && expected.test(error.message),
      String(expected),
    );
  }
});

test("variables that are no data are refused", () => {
  const template = createChatTemplate("{{ x }}");
  const cycle: Record<string, unknown> = {};
  cycle["x"] = cycle;
  for (const variables of [null, 5, [], cycle, { x: Symbol("x") }, { x: "a".repeat(9_000_000) }]) {
    assert.throws(
      () => template.render(CHAT, { variables: variables as Record<string, unknown> }),
      (error) => error instanceof MillraceError,
    );
  }
  assert.equal(template.render(CHAT, { variables: { x: 2n ** 40n } }).value, "1099511627776");
});

test("what a function is given decides how far its result is trusted", () => {
  const template = createChatTemplate("{{ f('<a>') }}{{ f(messages[0].content) }}");
  const rendered = template.render([{ role: "user", content: "<b>" }], { variables: { f: (text: string) => text } });
  assert.deepEqual(rendered.segments(), [
    { text: "<a>", origin: "template" },
    { text: "<b>", origin: "content" },
  ]);
});

test("a model without a template says so", () => {
  assert.throws(
    () => createChatTemplate(undefined).render(CHAT),
    (error) => error instanceof RequestError && error.message.includes("--raw"),
  );
});

test("malformed templates are errors", () => {
  const sources = [
    "{% if %}",
    "{{ a",
    "{% for x in %}{% endfor %}",
    `{{ ${"(".repeat(50_000)} }}`,
    "{{ x | nothing }}",
  ];
  for (const source of sources) assert.throws(() => createChatTemplate(source).render(CHAT), UnsupportedError, source);
});

/** Sources, and what must be said of each. */
const HOSTILE: readonly (readonly [source: string, message: RegExp])[] = (() => {
  const loop = "{% for i in range(9999) %}";
  const ends = "{% endfor %}";
  const grow = (times: number, text = "ns.s ~ ns.s", start = "x"): string =>
    `{% set ns = namespace(s='${start}') %}{% for i in range(${times}) %}{% set ns.s = ${text} %}{% endfor %}`;
  const large = grow(19);
  return [
    ["x".repeat(300_000), /262144/],
    [`{#${" ".repeat(250_000)}#}`, /white space/],
    [`a${" \n".repeat(100_000)}b`, /white space/],
    ["{% for i in range(10**9) %}x{% endfor %}", /range\(\)/],
    ["{% for i in range(1, 10**9, 2) %}x{% endfor %}", /range\(\)/],
    ["{{ range(10**400) }}", /range\(\)/],
    [`${loop}${loop}${loop}x${ends}${ends}${ends}`, /more than/],
    [`${loop}${loop}${loop}${ends}${ends}${ends}`, /more than/],
    [`${loop}${loop}{{ unknown }}${ends}${ends}`, /more than/],
    ["{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}", /more than/],
    ["{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", /levels deep/],
    [`${grow(60)}{{ ns.s }}`, /more than/],
    [`${grow(60, "ns.s.replace('x', 'xx')")}{{ ns.s }}`, /more than/],
    [`${large}{{ ns.s | replace('x', ns.s) }}`, /more than/],
    [`${large}{{ ns.s | replace('', ns.s) }}`, /more than/],
    [`${large}{% set f = ns.s.replace %}{{ f('x', ns.s) }}`, /more than/],
    [`${large}{{ ns.s['replace']('x', ns.s) }}`, /more than/],
    [
      `${large}{% filter replace('x', ns.s) %}x{% endfilter %}${loop}{{ ns.s | replace('x', 'y') }}${ends}`,
      /more than/,
    ],
    [`${large}{{ range(9999) | join(ns.s) }}`, /more than/],
    // What one filter or method costs is paid by the character, however few steps call it.
    ...["title", "upper", "replace('x', 'y')", "trim", "list", "indent", "tojson", "join(',')"].map(
      (filter) => [`${large}${loop}{% set y = ns.s | ${filter} %}${ends}`, /more than/] as const,
    ),
    ...["lstrip('x')", "split('x')", "split()", "strip()", "startswith(ns.s)", "replace('x', '')", "capitalize()"].map(
      (method) => [`${large}${loop}{% set y = ns.s.${method} %}${ends}`, /more than/] as const,
    ),
    ...[
      "'y' in ns.s",
      "ns.s == ns.s ~ ''",
      "ns.s < ns.s ~ ''",
      "ns.s[1:] is lower",
      "ns.s[::-1]",
      "ns.s ~ 'y' in ns.s",
    ].map((test) => [`${large}${loop}{% if ${test} %}{% endif %}${ends}`, /more than/] as const),
    // A search that looks at every place from the beginning.
    [`${large}{% set part = ns.s[:200000] ~ 'y' ~ ns.s[:200000] %}${loop}{{ part in ns.s }}${ends}`, /more than/],
    [
      "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x | tojson }}",
      /more than/,
    ],
    ["{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}", /deep/],
    ["{% set x = [] %}{% set y = x.append(x) %}{{ x }}", /deep/],
    ["{% set x = [] %}{% set y = x.append(x) %}{% set z = [x] %}{{ x == z }}", /deep/],
    [`{% set x = [] %}${loop}${loop}{% set y = x.append({'a': [1]}) %}${ends}${ends}`, /more than/],
    [`{% set ns = namespace(x=[]) %}${loop}{% set ns.x = ns.x + [i] %}${ends}`, /more than/],
    [`${loop}{% set x = range(9999) | sort(reverse=true) %}${ends}`, /more than/],
    [`{{ range(9999) | map('string') | unique | list | length }}`, /more than/],
    ["{{ 'a' | indent(10**9, true) }}", /indents/],
    ["{{ [[1]] | tojson(indent=10**9) }}", /indents/],
    ["{{ [].constructor.constructor('return process')().exit() }}", /can't be called/],
    ["{{ messages.__proto__.x() }}", /can't be called/],
    ["{{ ''.constructor('x') }}", /can't be called/],
  ];
})();

test("hostile templates end early, with a clear error", { timeout: 120_000 }, () => {
  for (const [source, expected] of HOSTILE) {
    assert.throws(
      () => createChatTemplate(source).render(CHAT),
      (error) => {
        assert.ok(error instanceof RequestError || error instanceof UnsupportedError, `${source}: ${String(error)}`);
        assert.match(error.message, expected, source);
        return true;
      },
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
