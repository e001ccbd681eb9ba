"""The statistics page for people: one file that loads nothing, and asks /json every two seconds.

What clients chose (names of sources and compilers, reasons that quote them) reaches the document as
text nodes alone. Should that ever fail, the policy in the header lets no script run but this one,
and nothing be loaded from or sent to anywhere else.
"""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #59636e; --paper: #f6f7f9;
  --card: #fff; --line: #d5dae0; --good: #1a7f4b; --bad: #b3261e; --bar: #2f6fde; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --dim: #9aa4b0; --paper: #14171b;
  --card: #1d2126; --line: #343a42; --good: #4cc38a; --bad: #ff7b72; --bar: #6ea0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper);
  color: var(--ink); font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.25rem; margin: 0; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
header p { margin: 0; color: var(--dim); }
#state.bad { color: var(--bad); font-weight: 600; }
main > dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .75rem; margin: 1rem 0; }
dl > div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .75rem; min-width: 0; }
dt { color: var(--dim); font-size: .875rem; }
dd { margin: 0; font-size: 1.5rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
dd small { font-size: .875rem; color: var(--dim); }
progress { width: 100%; height: .5rem; accent-color: var(--bar); }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: left; padding: .4rem .75rem; border-top: 1px solid var(--line);
  white-space: nowrap; vertical-align: top; }
thead th { border-top: 0; color: var(--dim); font-weight: 500; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.long { overflow-wrap: anywhere; white-space: normal; min-width: 9rem; }
.none { margin: 0; padding: .5rem .75rem; color: var(--dim); }
"""

SCRIPT = """
"use strict";
const PAUSE = 2000, LIMIT = 5000;
const place = (id) => document.getElementById(id);
const say = (id, text) => { place(id).textContent = String(text); };
const number = (value) => Number.isFinite(value) ? value : 0;
const sum = (table) => Object.values(table || {}).reduce((all, one) => all + number(one), 0);

function span(seconds) {
  const whole = Math.max(0, Math.floor(number(seconds)));
  if (whole < 60) return whole + " s";
  if (whole < 3600) return Math.floor(whole / 60) + " min " + whole % 60 + " s";
  const hours = Math.floor(whole / 3600);
  if (hours < 48) return hours + " h " + Math.floor(whole / 60) % 60 + " min";
  return Math.floor(hours / 24) + " d " + hours % 24 + " h";
}

// Each row is a list of texts; the table's head says of which kind each column is.
function fill(id, rows) {
  const table = place(id), body = document.createElement("tbody");
  const heads = table.tHead.rows[0].cells;
  for (const row of rows) {
    const line = body.insertRow();
    row.forEach((text, column) => {
      const cell = line.insertCell();
      cell.textContent = String(text);
      cell.className = heads[column].className;
    });
  }
  table.tBodies[0].replaceWith(body);
  table.hidden = rows.length === 0;
  place(id + "-none").hidden = rows.length !== 0;
}

function show(now) {
  const jobs = now.jobs || {}, cache = now.cache || {};
  const ended = number(jobs.compile_ok) + number(jobs.compile_error);
  const refused = number(jobs.rej_bad_req) + number(jobs.rej_overload);
  say("running", number(now.running));
  say("turns", number(now.turns));
  place("busy").max = Math.max(1, number(now.turns));
  place("busy").value = number(now.running);
  say("served", number(cache.hit));
  say("compiled", Math.max(0, ended - number(cache.hit)));
  const asked = number(cache.hit) + number(cache.miss);
  say("share", asked ? Math.round(100 * number(cache.hit) / asked) + " %" : "-");
  say("errors", number(jobs.compile_error));
  say("refused", refused);
  say("denied", number(now.denied));
  say("load", (now.load || []).map((one) => one < 0 ? "?" : one.toFixed(2)).join("  "));
  say("cache-state", now.cache_state);
  say("faults", sum(now.cache_faults));
  say("uptime", span(now.uptime_seconds));
  say("memory", now.free_memory_mb < 0 ? "?" : now.free_memory_mb + " MB");
  say("space", now.free_space_mb < 0 ? "?" : now.free_space_mb + " MB");
  fill("jobs", (now.jobs_now || []).map((one) =>
    [span(one.seconds), one.source, one.compiler, one.client]));
  fill("refusals", (now.refusals || []).map((one) =>
    [span(one.seconds_ago), one.client, one.reason, one.source]));
  fill("clients", (now.clients || []).map((one) =>
    [one.address, one.jobs, one.refused, span(one.seconds_ago)]));
  fill("ends", Object.entries(jobs).map(([code, count]) => [code, number(count)]));
}

async function follow() {
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), LIMIT);
  try {
    const answer = await fetch("json", {cache: "no-store", signal: stop.signal});
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
    say("state", "as of " + new Date().toLocaleTimeString());
    place("state").className = "";
  } catch (problem) {
    say("state", "the daemon does not answer; these are old figures");
    place("state").className = "bad";
  }
  clearTimeout(timer);
  setTimeout(follow, PAUSE);
}
follow();
"""


def _card(title: str, body: str) -> str:
    return f"<div><dt>{title}</dt><dd>{body}</dd></div>\n"


def _value(name: str, more: str = "") -> str:
    return f'<span id="{name}">?</span>{more}'


def _table(name: str, title: str, heads: str, empty: str) -> str:
    kinds = {"#": ' class="number"', "~": ' class="long"'}
    cells = "".join(
        f'<th scope="col"{kinds.get(head[0], "")}>{head.lstrip("#~")}</th>'
        for head in heads.split("|")
    )
    return (
        f'<section><h2>{title}</h2><div class="wide">'
        f'<p class="none" id="{name}-none">{empty}</p>'
        f'<table id="{name}" hidden><thead><tr>{cells}</tr></thead><tbody></tbody></table>'
        "</div></section>\n"
    )


def _small(text: str) -> str:
    return f" <small>{text}</small>"


PAGE = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>pyccd</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header><h1>pyccd</h1><p id="state" role="status">asking the daemon</p></header>
<noscript><p>This page needs JavaScript; /json, /metrics and /distccd have the same as text.</p>
</noscript>
<main>
<dl>
{
    _card(
        "Jobs running",
        _value("running")
        + _small("of " + _value("turns", " slots"))
        + '<progress id="busy" value="0" max="1"></progress>',
    )
}\
{_card("Served from cache", _value("served") + _small(_value("share")))}\
{_card("Compiled", _value("compiled") + _small(_value("errors", " with errors")))}\
{_card("Refused", _value("refused") + _small(_value("denied", " denied")))}\
{_card("Load", _value("load"))}\
{_card("Cache", _value("cache-state") + _small(_value("faults", " faults")))}\
{_card("Up for", _value("uptime"))}\
{_card("Free memory", _value("memory") + _small(_value("space", " for jobs")))}\
</dl>
{_table("jobs", "Running now", "#for|~source|compiler|client", "Nothing runs.")}\
{_table("refusals", "Refused lately", "#ago|client|~reason|~source", "Nothing was refused.")}\
{_table("clients", "Clients", "address|#jobs|#refused|#heard of", "Nobody has connected.")}\
{_table("ends", "How jobs ended", "code|#jobs", "No job has ended.")}\
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _source(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = "; ".join(
    (
        "default-src 'none'",
        f"script-src {_source(SCRIPT)}",
        f"style-src {_source(STYLE)}",
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy (W3C CSP level 3): the style and the script above, and /json."""
