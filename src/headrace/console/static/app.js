// What pages cannot do by themselves: copying, the phone's menu, filters of lists that are there already,
// the live view, and charts. Every page works without, save those two.
"use strict";

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const from = copy.dataset.copy === "" ? copy.parentElement.querySelector("pre, code").textContent : copy.dataset.copy;
    writeToClipboard(from).then(() => tell(copy.dataset.done || ""));
  }
  const menu = event.target.closest("[data-menu]");
  if (menu) {
    const open = menu.closest(".bar").classList.toggle("open");
    menu.setAttribute("aria-expanded", String(open));
  }
  const all = event.target.closest("[data-check-all]");
  if (all) {
    for (const box of document.querySelectorAll(all.dataset.checkAll)) {
      if (!box.closest("[hidden]")) box.checked = all.checked;
    }
  }
});

async function writeToClipboard(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  // Pages served without TLS from another machine have no clipboard of their own.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function tell(words) {
  const status = document.getElementById("status");
  if (!status || !words) return;
  status.textContent = words;
  status.className = "toast";
  setTimeout(() => { status.className = "visually-hidden"; status.textContent = ""; }, 1800);
}

// A list on the page, narrowed by what is typed: <input data-narrow="#list li">, words in data-words or the text.
document.addEventListener("input", (event) => {
  const target = event.target;
  if (!(target instanceof HTMLElement) || !target.dataset.narrow) return;
  const wanted = target.value.trim().toLowerCase().split(/\s+/);
  for (const each of document.querySelectorAll(target.dataset.narrow)) {
    const words = (each.dataset.words || each.textContent).toLowerCase();
    each.hidden = !wanted.every((word) => words.includes(word));
  }
  for (const group of document.querySelectorAll("[data-opens]")) {
    if (target.value.trim()) group.open = true;
    group.hidden = !group.querySelector("[data-words]:not([hidden])");
  }
});

// A file that is read into a field of the form, where it can be looked at before it is sent.
document.addEventListener("change", async (event) => {
  const target = event.target;
  if (!(target instanceof HTMLInputElement) || !target.dataset.into || !target.files.length) return;
  document.querySelector(target.dataset.into).value = await target.files[0].text();
});

// A choice that is sent as soon as it is made; without scripts its form has a button.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// What an answer brings and the next step hangs on, such as a check's outcome, comes into view and takes the focus.
function reach(within) {
  const reached = within.querySelector("[data-reached]");
  if (!reached) return;
  reached.scrollIntoView({ block: "nearest" });
  reached.focus({ preventScroll: true });
}
document.addEventListener("htmx:afterSettle", (event) => reach(event.target.parentElement || event.target));
document.addEventListener("DOMContentLoaded", () => reach(document));
