// The live view: one list item an export, the newest first, from server-sent events.
"use strict";

const MOST = 200;
const list = document.getElementById("settled");
const pulse = document.getElementById("pulse");
const words = list.dataset;
let source = null;
let paused = false;
let seen = 0;
let missed = 0;

function state(kind, text) {
  pulse.className = `pulse ${kind}`;
  pulse.textContent = text;
}

function cell(text, className, title) {
  const made = document.createElement("span");
  made.textContent = text;
  made.title = title || text;
  if (className) made.className = className;
  return made;
}

function fact(facts, name, value, link) {
  if (value === null || value === undefined || value === "") return;
  const term = document.createElement("dt");
  const told = document.createElement("dd");
  term.textContent = name;
  if (link) {
    const to = document.createElement("a");
    to.href = link;
    to.textContent = value;
    told.append(to);
  } else {
    told.textContent = value;
  }
  facts.append(term, told);
}

// JSON with its parts marked for colour, as pages have it; built of text nodes, never of markup.
function coloured(text) {
  const made = document.createDocumentFragment();
  const parts = /("(?:\\.|[^"\\])*")(?=(\s*:)?)|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?/g;
  let from = 0;
  for (const found of text.matchAll(parts)) {
    made.append(text.slice(from, found.index));
    const part = document.createElement("span");
    part.className = found[1] ? (found[2] ? "j-name" : "j-text") : "j-value";
    part.textContent = found[0];
    made.append(part);
    from = found.index + found[0].length;
  }
  made.append(text.slice(from));
  return made;
}

function item(one) {
  const row = document.createElement("li");
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  const time = new Date(one.settled_ms).toISOString().slice(11, 23);
  summary.append(cell(time, "mono"), cell(one.outcome, `chip ${one.good ? "good" : "bad"}`), cell(one.cause, "", one.cause_ids),
    cell(one.flow, "soft"), cell(`${one.latency_ms} ms`, "quiet nowrap"));
  const facts = document.createElement("dl");
  facts.className = "facts card-head";
  fact(facts, words.why, one.why);
  fact(facts, words.reason, [one.code, one.detail].filter(Boolean).join(": "));
  fact(facts, words.export, one.export);
  fact(facts, words.profile, one.profile, one.profile && `/ui/profile?profile=${encodeURIComponent(one.profile)}`);
  fact(facts, words.shard, one.shard);
  fact(facts, words.sequence, one.sequence);
  fact(facts, words.attempts, one.attempts);
  fact(facts, words.size, `${one.size_bytes} B`);
  const link = document.createElement("a");
  link.href = `/ui/explain?export=${encodeURIComponent(one.export)}`;
  link.textContent = words.explain;
  const told = document.createElement("dd");
  told.append(link);
  facts.append(document.createElement("dt"), told);
  const pre = document.createElement("pre");
  pre.className = "code";
  pre.tabIndex = 0;
  pre.append(coloured(one.message));
  details.append(summary, facts, pre);
  row.append(details);
  return row;
}

function counts() {
  document.getElementById("seen").textContent = String(seen);
  document.getElementById("missed").textContent = String(missed);
}

function open() {
  if (source) source.close();
  source = new EventSource(list.dataset.stream);
  state("", words.connecting);
  source.addEventListener("following", () => state("on", words.on));
  source.onopen = () => state("on", words.on);
  source.onerror = () => state("off", words.off);
  source.addEventListener("problem", (event) => {
    state("off", JSON.parse(event.data).words);
    source.close();
    setTimeout(() => { if (!paused) open(); }, 3000);
  });
  source.addEventListener("missed", (event) => {
    missed += JSON.parse(event.data).count;
    counts();
  });
  source.addEventListener("export", (event) => {
    seen += 1;
    counts();
    document.getElementById("none").hidden = true;
    list.prepend(item(JSON.parse(event.data)));
    while (list.children.length > MOST) list.lastElementChild.remove();
  });
}

document.getElementById("pause").addEventListener("click", (event) => {
  paused = !paused;
  event.currentTarget.setAttribute("aria-pressed", String(paused));
  event.currentTarget.querySelector("[data-words]").textContent = paused ? words.resume : words.pause;
  event.currentTarget.querySelector("[data-pausing]").hidden = paused;
  event.currentTarget.querySelector("[data-going]").hidden = !paused;
  if (paused) {
    source.close();
    state("", words.paused);
  } else {
    open();
  }
});
document.getElementById("clear").addEventListener("click", () => list.replaceChildren());
window.addEventListener("pagehide", () => source && source.close());
open();
