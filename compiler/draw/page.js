"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const figure = document.getElementById("figure");
const drawing = figure.querySelector("svg");
const tip = document.getElementById("tip");
const facts = document.getElementById("facts");
const files = [...document.querySelectorAll(".file")];
const tabs = [...document.querySelectorAll("#files button")];
const base = { width: drawing.width.baseVal.value, height: drawing.height.baseVal.value };
let scale = 1;

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function table(rows, parent) {
  const made = element("table", undefined, parent);
  for (const [name, value] of rows) {
    const row = element("tr", undefined, made);
    element("td", name, row);
    element("td", value, row);
  }
}

function open(file) {
  files.forEach((f, i) => f.classList.toggle("on", i === file));
  tabs.forEach((t, i) => t.classList.toggle("on", i === file));
}

function clear() {
  document.querySelectorAll(".file i").forEach((mark) => mark.remove());
  document.querySelectorAll(".file .used, .file .defined").forEach((line) => line.classList.remove("used", "defined"));
}

function shade(place, kind) {
  const lines = files[place.file].children;
  for (let n = place.line; n <= place.last; n++) {
    lines[n].classList.add(kind);
    if (kind !== "used") continue;
    const text = lines[n].textContent.replace(/\n$/, "");
    const from = n === place.line ? place.column : text.length - text.trimStart().length;
    const to = n === place.last ? place.end : text.length;
    const mark = element("i", undefined, lines[n]);
    mark.style.left = `calc(54px + ${from}ch)`;
    mark.style.width = `${to - from}ch`;
  }
}

function go(place) {
  open(place.file);
  files[place.file].children[place.line].scrollIntoView({ block: "center" });
  document.getElementById("source").scrollLeft = 0;
}

function where(place) {
  return `${tabs[place.file].textContent}:${place.line + 1}`;
}

function choose(key) {
  const item = data[key];
  document.querySelectorAll(".item.chosen").forEach((e) => e.classList.remove("chosen"));
  document.querySelectorAll(".link.lit").forEach((e) => e.classList.remove("lit"));
  drawing.querySelector(`.item[data-key="${CSS.escape(key)}"]`).classList.add("chosen");
  drawing.querySelectorAll(`.link[data-from="${CSS.escape(key)}"]`).forEach((e) => e.classList.add("lit"));
  facts.replaceChildren();
  const head = element("h1", item.title + " ", facts);
  element("span", item.note, head);
  table(item.facts, facts);
  clear();
  if (item.defined) shade(item.defined, "defined");
  if (item.used) shade(item.used, "used");
  const links = element("p", undefined, facts);
  for (const [name, place] of [["used at", item.used], ["defined at", item.defined]]) {
    if (place) element("button", `${name} ${where(place)}`, links).onclick = () => go(place);
  }
  const first = item.used || item.defined;
  if (first) go(first);
}

function zoom(to) {
  scale = Math.min(4, Math.max(0.2, to));
  drawing.style.width = `${base.width * scale}px`;
  drawing.style.height = `${base.height * scale}px`;
}

drawing.querySelectorAll("title").forEach((title) => title.remove());
drawing.querySelectorAll(".item").forEach((shape) => {
  const key = shape.dataset.key;
  shape.setAttribute("tabindex", "0");
  shape.addEventListener("click", (event) => { event.stopPropagation(); choose(key); });
  shape.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.stopPropagation(); choose(key); } });
  shape.addEventListener("mouseover", (event) => {
    event.stopPropagation();
    drawing.querySelectorAll(".over").forEach((e) => e.classList.remove("over"));
    shape.classList.add("over");
    tip.replaceChildren();
    element("b", `${data[key].title} ${data[key].note}`, tip);
    table(data[key].facts, tip);
    tip.hidden = false;
  });
});
drawing.addEventListener("mouseleave", () => {
  tip.hidden = true;
  drawing.querySelectorAll(".over").forEach((e) => e.classList.remove("over"));
});
drawing.addEventListener("mouseover", () => { tip.hidden = true; });
document.addEventListener("mousemove", (event) => {
  const { offsetWidth: w, offsetHeight: h } = tip;
  tip.style.left = `${Math.max(4, event.clientX + 16 + w > innerWidth ? event.clientX - w - 12 : event.clientX + 16)}px`;
  tip.style.top = `${Math.max(4, event.clientY + 18 + h > innerHeight ? event.clientY - h - 12 : event.clientY + 18)}px`;
});

let held = null;
figure.addEventListener("mousedown", (event) => {
  held = { x: event.clientX + figure.scrollLeft, y: event.clientY + figure.scrollTop };
});
window.addEventListener("mousemove", (event) => {
  if (!held) return;
  figure.classList.add("dragged");
  figure.scrollLeft = held.x - event.clientX;
  figure.scrollTop = held.y - event.clientY;
});
window.addEventListener("mouseup", () => { held = null; figure.classList.remove("dragged"); });
figure.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  zoom(scale * (event.deltaY < 0 ? 1.1 : 1 / 1.1));
}, { passive: false });
const fit = () => zoom(Math.min(1.25, (figure.clientWidth - 8) / base.width));
document.querySelectorAll("#zoom button").forEach((button) => {
  const step = Number(button.dataset.zoom);
  button.onclick = () => (step ? zoom(scale * (step > 0 ? 1.2 : 1 / 1.2)) : fit());
});
tabs.forEach((tab, i) => { tab.onclick = () => open(i); });
if (files.length) open(0);
fit();
