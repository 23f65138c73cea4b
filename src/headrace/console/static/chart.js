// The chart of the monitoring page; its colours are the tokens of the style sheet.
"use strict";

const place = document.getElementById("chart");
const data = JSON.parse(place.dataset.series);

function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function line(name, label, colour, filled) {
  return { label, stroke: token(colour), width: 2, fill: filled ? token(filled) : undefined, points: { show: false }, spanGaps: true };
}

function when(seconds) {
  const text = new Date(seconds * 1000).toISOString();
  return text.slice(11, 16) === "00:00" ? text.slice(5, 10) : text.slice(11, 16);
}

function draw() {
  place.replaceChildren();
  const axis = { stroke: token("--ink-faint"), grid: { stroke: token("--line"), width: 1 }, ticks: { show: false }, font: "12px Inter, sans-serif" };
  const words = place.dataset;
  return new uPlot({
    width: place.clientWidth,
    height: 250,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    cursor: { y: false },
    series: [
      { label: words.at, value: (_, seconds) => seconds === null ? "—" : `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC` },
      line("received", words.received, "--ink-faint"),
      line("activated", words.activated, "--accent", "--accent-soft"),
      line("skipped", words.skipped, "--warn"),
      line("failed", words.failed, "--bad"),
    ],
    axes: [{ ...axis, values: (_, splits) => splits.map(when) }, { ...axis, size: 60 }],
    scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.1, 1)] } },
  }, [data.at, data.received, data.activated, data.skipped, data.failed], place);
}

draw();
let width = place.clientWidth;
new ResizeObserver(() => {
  if (place.clientWidth !== width) {
    width = place.clientWidth;
    draw();
  }
}).observe(place);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
