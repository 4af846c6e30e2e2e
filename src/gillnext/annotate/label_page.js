// The labelling page: one image at a time, its boxes under the mouse and the keyboard, progress in localStorage.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const store = `gillnext-labels-${data.key}`;
const at = (id) => document.getElementById(id);
const items = data.items.map((item) => ({ image: item.image, done: false, boxes: structuredClone(item.boxes) }));
let current = 0, selected = -1, drag = null, lastName = "";

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

function element(tag, attributes = {}, parent = null) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  if (parent) parent.append(made);
  return made;
}

const colour = (i) => data.colours[i % data.colours.length];

function place(node, [x1, y1, x2, y2]) {
  Object.assign(node.style, {
    left: `${100 * x1}%`, top: `${100 * y1}%`, width: `${100 * (x2 - x1)}%`, height: `${100 * (y2 - y1)}%`,
  });
}

function drawBoxes() {
  at("boxes").replaceChildren();
  items[current].boxes.forEach(({ name, box }, i) => {
    const node = element("div", { className: i === selected ? "box selected" : "box" }, at("boxes"));
    node.dataset.box = i;
    node.style.color = colour(i);
    place(node, box);
    element("span", { textContent: name || "?" }, node);
    for (const handle of i === selected ? ["nw", "n", "ne", "e", "se", "s", "sw", "w"] : []) {
      element("i", { className: handle }, node).dataset.handle = handle;
    }
  });
}

function drawList() {
  at("list").replaceChildren();
  items[current].boxes.forEach((one, i) => {
    const row = element("li", { className: i === selected ? "selected" : "" }, at("list"));
    row.style.borderColor = colour(i);
    const input = element("input", { value: one.name, placeholder: "name" }, row);
    input.setAttribute("list", "names");
    input.setAttribute("aria-label", `name of box ${i + 1}`);
    input.addEventListener("focus", () => select(i, false));
    input.addEventListener("input", () => {
      one.name = lastName = input.value;
      drawBoxes();
      save();
    });
    element("button", { type: "button", textContent: "×", title: "delete (Delete)" }, row).addEventListener("click", () => remove(i));
  });
}

function draw() {
  const item = items[current], shown = data.items[current];
  at("picture").src = shown.picture;
  at("caption").textContent = shown.caption;
  at("path").textContent = item.image;
  at("done").checked = item.done;
  at("number").textContent = `${current + 1} of ${items.length}`;
  at("progress").value = items.filter((one) => one.done).length;
  at("looked").textContent = `${items.filter((one) => one.done).length} looked at`;
  drawBoxes();
  drawList();
}

function select(i, list = true) {
  selected = i;
  drawBoxes();
  if (list) drawList();
}

function go(to) {
  current = Math.min(Math.max(to, 0), items.length - 1);
  selected = -1;
  save();
  draw();
}

function change(box) {
  items[current].boxes[selected].box = box;
  drawBoxes();
}

function remove(i) {
  items[current].boxes.splice(i, 1);
  select(-1);
  save();
}

function nameless() {
  return items[current].boxes.findIndex((one) => !clean(one.name));
}

function look(done) {
  const bare = nameless();
  if (done && bare >= 0) {
    tell(`box ${bare + 1} has no name`);
    select(bare);
    at("list").children[bare].firstChild.focus();
    at("done").checked = false;
    return false;
  }
  items[current].done = done;
  tell("");
  save();
  draw();
  return true;
}

const point = (event) => {
  const { left, top, width, height } = at("stage").getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height];
};

at("stage").addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  if (document.activeElement) document.activeElement.blur();
  const node = event.target.closest(".box"), handle = event.target.dataset.handle || "";
  if (node) select(Number(node.dataset.box));
  drag = { from: point(event), handle, box: node ? items[current].boxes[selected].box : null };
  at("stage").setPointerCapture(event.pointerId);
});

at("stage").addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = point(event), dx = x - drag.from[0], dy = y - drag.from[1];
  if (drag.box) return change(drag.handle ? resized(drag.box, drag.handle, dx, dy) : moved(drag.box, dx, dy));
  const box = between(drag.from, [x, y]);
  if (!box) return;
  if (!drag.made) {
    drag.made = true;
    selected = items[current].boxes.push({ name: lastName, box }) - 1;
  }
  change(box);
});

at("stage").addEventListener("pointerup", () => {
  if (!drag) return;
  const made = drag.made;
  if (!drag.box && !made) selected = -1;
  drag = null;
  draw();
  save();
  if (made) at("list").children[selected].firstChild.select();
});

const KEYS = {
  Delete: () => selected >= 0 && remove(selected),
  Backspace: () => selected >= 0 && remove(selected),
  Escape: () => select(-1),
  PageDown: () => go(current + 1),
  PageUp: () => go(current - 1),
  Enter: () => look(true) && go(current + 1),
  " ": () => select(items[current].boxes.length ? (selected + 1) % items[current].boxes.length : -1),
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
  if (typing && event.key === "Escape") event.target.blur();
  if (typing && !["Enter", "PageDown", "PageUp"].includes(event.key)) return;
  if (event.target instanceof HTMLButtonElement && ["Enter", " "].includes(event.key)) return;
  if (event.key in ARROWS && selected >= 0) {
    const [dx, dy] = ARROWS[event.key].map((v) => v * 0.005), { box } = items[current].boxes[selected];
    change(event.shiftKey ? resized(box, "se", dx, dy) : moved(box, dx, dy));
    save();
  } else if (event.key in KEYS) KEYS[event.key]();
  else return;
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
draw();
