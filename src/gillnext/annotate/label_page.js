// The labelling page: one image at a time, its boxes under the mouse and the keyboard, progress in localStorage.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const store = `gillnext-labels-${data.key}`;
const at = (id) => document.getElementById(id);
const items = data.items.map((item) => ({ image: item.image, done: false, boxes: structuredClone(item.boxes) }));
let current = 0, lastName = "";

try {
  const kept = JSON.parse(localStorage.getItem(store) || "null");
  if (kept) kept.items.forEach((item, i) => Object.assign(items[i], item));
  if (kept) current = kept.current;
} catch (error) {
  tell(`progress could not be read: ${error.message}`);
}

function tell(text) {
  at("told").textContent = text;
}

function save() {
  try {
    localStorage.setItem(store, JSON.stringify({ current, items }));
  } catch (error) {
    tell(`progress is not kept by this browser (${error.message}): download the CSV before closing`);
  }
}

const editor = new Editor({
  stage: at("stage"),
  layer: at("boxes"),
  list: at("list"),
  colours: data.colours,
  naming: () => lastName,
  changed() {
    if (editor.selected >= 0) lastName = editor.boxes[editor.selected].name;
    if (!editor.drag) save();
  },
});

function draw() {
  const item = items[current], shown = data.items[current];
  at("picture").src = shown.picture;
  at("caption").textContent = shown.caption;
  at("path").textContent = item.image;
  at("done").checked = item.done;
  at("number").textContent = `${current + 1} of ${items.length}`;
  at("progress").value = items.filter((one) => one.done).length;
  at("looked").textContent = `${items.filter((one) => one.done).length} looked at`;
}

function go(to) {
  current = Math.min(Math.max(to, 0), items.length - 1);
  editor.load(items[current].boxes);
  save();
  draw();
}

function look(done) {
  const bare = items[current].boxes.findIndex((one) => !clean(one.name));
  if (done && bare >= 0) {
    tell(`box ${bare + 1} has no name`);
    editor.select(bare);
    editor.rename(bare);
    at("done").checked = false;
    return false;
  }
  items[current].done = done;
  tell("");
  save();
  draw();
  return true;
}

const KEYS = {
  PageDown: () => go(current + 1),
  PageUp: () => go(current - 1),
  Enter: () => look(true) && go(current + 1),
  " ": () => editor.select(editor.boxes.length ? (editor.selected + 1) % editor.boxes.length : -1),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
  if (event.defaultPrevented || (typing && !["Enter", "PageDown", "PageUp"].includes(event.key))) return;
  if (event.target instanceof HTMLButtonElement && ["Enter", " "].includes(event.key)) return;
  if (!(event.key in KEYS)) return;
  KEYS[event.key]();
  event.preventDefault();
});

at("before").addEventListener("click", () => go(current - 1));
at("after").addEventListener("click", () => go(current + 1));
at("done").addEventListener("change", (event) => look(event.target.checked));
at("unseen").addEventListener("click", () => go(items.findIndex((one) => !one.done)));

at("download").addEventListener("click", () => {
  const bare = items.findIndex((one) => one.done && one.boxes.some(({ name }) => !clean(name)));
  if (bare >= 0) {
    go(bare);
    return look(true);
  }
  const url = URL.createObjectURL(new Blob([toCsv(items)], { type: "text/csv" }));
  element("a", { href: url, download: data.csv }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
});

function load(text) {
  const found = fromCsv(text), known = new Map(items.map((item) => [item.image, item]));
  const strange = [...found.keys()].filter((image) => !known.has(image));
  if (strange.length) throw new Error(`${strange[0]} is not on this page`);
  for (const [image, boxes] of found) Object.assign(known.get(image), { done: true, boxes });
  go(0);
  tell(`${found.size} images read`);
}

at("load").addEventListener("change", async (event) => {
  try {
    load(await event.target.files[0].text());
  } catch (error) {
    tell(`${event.target.files[0].name}, ${error.message}`);
  }
  event.target.value = "";
});

for (const name of data.names) element("option", { value: name }, at("names"));
at("progress").max = items.length;
go(current);
