// The page: what is asked of the studio, and what is shown of its answers. After boxes.js, editor.js and pictures.js.
"use strict";

const at = (id) => document.getElementById(id);
const PAGE = crypto.randomUUID(), WAIT = 250; // milliseconds after a change until it is drawn
const TITLES = { without: ["不用适配器", "Without the adapter"], before: ["上一张", "The picture before"], change: ["变化", "What has changed"] };
let facts = null, editor = null;
let now = null, before = null; // what is shown and what was: { asked, with, without, … }
let proposed = null; // the planner's last boxes, and for which sentence
let waiting = 0, running = null; // a timer; what aborts the request that is under way

const round = (v) => Number(v.toFixed(4));
const objects = () => editor.boxes.map(({ name, box }) => ({ name: name.trim(), bbox: box.map(round) }));
const copyOf = (things) => things.map(({ name, bbox }) => ({ name, box: [...bbox] }));

function tell(error) {
  at("alert").hidden = !error;
  if (!error) return;
  const { what, where, remedy } = error.what ? error : { what: error.message, where: "", remedy: "" };
  at("alert").firstChild.textContent = where ? `${where}: ${what}` : what;
  at("alert").lastChild.textContent = remedy ? `→ ${remedy}` : "";
}

/** The studio's answer; what it refuses is thrown with `what`, `where` and `remedy`. */
async function ask(path, data, signal) {
  const request = data && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(data), signal };
  const answer = await fetch(path, request).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw { what: "画室没有回答 the studio does not answer", where: "", remedy: "start `gillnext studio` again, and open the address that it prints" };
  });
  const told = await answer.json();
  if (!answer.ok) throw { ...told, status: answer.status };
  return told;
}

/** Do `work(signal)` with the clock running; work that is still under way is given up for it. */
async function busy(word, work) {
  clearTimeout(waiting);
  if (running) running.abort();
  const mine = (running = new AbortController()), began = performance.now();
  const tick = () => (at("clock").textContent = ` ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const clock = setInterval(() => running === mine && tick(), 100);
  at("stage").classList.add("busy");
  at("status").textContent = `${word}…`;
  try {
    tell(null);
    await work(mine.signal);
  } catch (error) {
    if (running === mine && error.name !== "AbortError" && error.status !== 409) {
      at("status").textContent = "";
      tell(error);
    }
  } finally {
    clearInterval(clock);
    if (running === mine) {
      running = null;
      at("stage").classList.remove("busy");
      at("clock").textContent = "";
    }
  }
}

/** Boxes by the planner in the place of those that are there. */
async function plan(signal) {
  const told = await ask("plan", { page: PAGE, caption: at("caption").value }, signal);
  editor.load(copyOf(told.objects));
  refresh();
  proposed = { caption: at("caption").value, boxes: JSON.stringify(objects()) };
  return told.warnings;
}

/** What the page asks to be drawn; a number that is not filled in is refused by the studio. */
function wanted() {
  const number = (id) => (at(id).value === "" ? null : Number(at(id).value));
  const settings = { arm: at("arm").value, seed: number("seed"), steps: number("steps"), guidance: number("guidance") };
  return { page: PAGE, caption: at("caption").value, objects: objects(), ...settings };
}

/** Whether the boxes are still those that the planner proposed for another sentence. */
function outdated() {
  return proposed !== null && proposed.caption !== at("caption").value && proposed.boxes === JSON.stringify(objects());
}

/** Draw what is there. Without boxes of a person's own, or where `anew`, the planner places them first. */
function draw(anew = outdated()) {
  const nameless = editor.boxes.findIndex(({ name }) => !name.trim());
  if (nameless >= 0 && !anew) return (at("status").textContent = `框 ${nameless + 1} 还没有名称 box ${nameless + 1} has no name`);
  return busy("正在画 drawing", async (signal) => {
    const planned = anew || (!editor.boxes.length && facts.planner) ? await plan(signal) : [];
    const asked = wanted(), told = await ask("draw", asked, signal);
    const next = { asked, ...told, warnings: [...planned, ...told.warnings] };
    if (now && now.with !== next.with) before = now;
    now = next;
    await show();
    at("status").textContent = `画好了 drawn, ${told.seconds.toFixed(1)} s`;
  });
}

function later() {
  clearTimeout(waiting);
  if (at("live").checked && now) waiting = setTimeout(draw, WAIT);
}

/** The pictures that can be compared with, by the names of the views. */
async function views() {
  const found = { without: { picture: now.without, objects: now.asked.objects, told: "" } };
  if (!before) return found;
  found.before = { picture: before.with, objects: before.asked.objects, told: "" };
  const boxes = unlike(now.asked.objects, before.asked.objects), change = await difference(now.with, before.with, boxes);
  if (!change) return found;
  const [inside, outside] = [change.inside, change.outside].map((v) => (v === null ? "–" : v.toFixed(0)));
  const told = boxes.length ? `动过的框内 in the changed boxes ${inside}，其余 elsewhere ${outside}` : outside;
  const mean = `平均变化 Mean change: ${told} (0–255)`;
  found.change = { picture: change.picture, objects: now.asked.objects, was: before.asked.objects, told: mean };
  return found;
}

async function show() {
  at("with").src = now.with;
  at("with").alt = now.asked.caption;
  at("with").hidden = false;
  await at("with").decode();
  at("stage").style.aspectRatio = `${at("with").naturalWidth} / ${at("with").naturalHeight}`;
  at("warnings").replaceChildren(...now.warnings.map((textContent) => element("li", { textContent })));
  now.views = await views();
  compare();
}

/** The chosen one of the views, with its boxes, and all of them small. */
function compare() {
  const radios = [...document.querySelectorAll("[name=view]")];
  for (const radio of radios) {
    const view = now && now.views[radio.value], image = radio.parentNode.querySelector("img");
    radio.disabled = !view;
    image.hidden = !view;
    if (view) image.src = view.picture;
  }
  if (radios.some((radio) => radio.checked && radio.disabled)) radios[0].checked = true;
  const name = radios.find((radio) => radio.checked).value, view = now && now.views[name];
  at("other-title").replaceChildren(`${TITLES[name][0]} `, element("small", { textContent: TITLES[name][1], lang: "en" }));
  at("views").hidden = !now;
  at("back").hidden = name !== "before";
  at("told").textContent = view ? view.told : "";
  at("outlines").replaceChildren();
  if (!view) return;
  at("other").src = view.picture;
  at("other").alt = TITLES[name].join(" ");
  at("other").hidden = false;
  at("other").parentNode.style.aspectRatio = at("stage").style.aspectRatio;
  if (!at("shown").checked) return;
  for (const [things, className] of [[view.was || [], "box was"], [view.objects, "box"]]) {
    things.forEach(({ bbox }, i) => outline(element("div", { className }, at("outlines")), bbox, editor.colour(i)));
  }
}

/** The page as it was when the picture before was drawn; that one and this change places. */
function back() {
  [now, before] = [before, now];
  for (const id of ["caption", "arm", "seed", "steps", "guidance"]) at(id).value = now.asked[id];
  editor.load(copyOf(now.asked.objects));
  refresh();
  return show();
}

/** What follows from the boxes: their JSON, and whether there may be more. */
function refresh() {
  const lines = objects().map((thing) => `  ${JSON.stringify(thing)}`).join(",\n");
  at("json").value = `{"caption": ${JSON.stringify(at("caption").value)}, "objects": [\n${lines}\n]}`;
  const full = editor.boxes.length >= facts.most;
  for (const button of [at("add"), ...at("known").children]) button.disabled = full;
  at("hint").hidden = Boolean(now || editor.boxes.length);
}

async function copy() {
  refresh();
  await navigator.clipboard.writeText(at("json").value);
  at("status").textContent = "已复制 copied";
}

async function paste() {
  try {
    const told = await ask("boxes", { text: at("json").value });
    tell(null);
    if (told.caption) at("caption").value = told.caption;
    editor.load(copyOf(told.objects));
    refresh();
    later();
  } catch (error) {
    tell(error);
  }
}

/** The first name of the sentence that has no box yet. */
function naming() {
  const text = at("caption").value, placed = editor.boxes.map(({ name }) => name);
  const named = facts.names.filter((name) => text.includes(name) && !placed.includes(name));
  return named.sort((a, b) => text.indexOf(a) - text.indexOf(b))[0] || "";
}

function add(name) {
  const shift = 0.04 * (editor.boxes.length % 5);
  editor.add([0.3, 0.3, 0.7, 0.7].map((v) => v - 0.08 + shift), name);
  const made = editor.boxes.length - 1;
  if (made >= 0 && !editor.boxes[made].name) editor.rename(made);
}

async function begin() {
  facts = await ask("facts");
  const parts = { stage: at("stage"), layer: at("boxes"), list: at("list"), colours: facts.colours, most: facts.most };
  const changed = (done) => {
    refresh();
    if (done) later();
  };
  editor = new Editor({ ...parts, naming, changed, step: 0.01 });
  for (const name of facts.arms) element("option", { value: name, textContent: name }, at("arm"));
  for (const name of facts.names) element("option", { value: name }, at("names"));
  for (const name of facts.names.slice(0, 40)) {
    const chip = element("button", { type: "button", textContent: `＋ ${name}` }, at("known"));
    chip.addEventListener("click", () => add(name));
  }
  for (const id of ["seed", "steps", "guidance"]) {
    const [min, max, value] = facts[`${id.replace("seed", "seeds")}`];
    Object.assign(at(id), { min, max });
    if (value !== undefined) at(id).value = value;
  }
  at("caption").maxLength = facts.caption;
  at("base").textContent = facts.base;
  at("plan").disabled = !facts.planner;
  compare();
  refresh();
  listen();
}

function listen() {
  at("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    draw();
  });
  at("caption").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return; // an input method's Enter chooses characters
    event.preventDefault();
    at("ask").requestSubmit();
  });
  at("caption").addEventListener("input", refresh);
  at("plan").addEventListener("click", () => draw(true));
  at("add").addEventListener("click", () => add());
  at("copy").addEventListener("click", () => copy().catch(tell));
  at("apply").addEventListener("click", paste);
  at("back").addEventListener("click", back);
  at("another").addEventListener("click", () => {
    at("seed").value = Math.floor(Math.random() * 10000);
    later();
  });
  for (const id of ["arm", "seed", "steps", "guidance", "live"]) at(id).addEventListener("change", later);
  at("shown").addEventListener("change", () => {
    at("stage").classList.toggle("plain", !at("shown").checked);
    compare();
  });
  at("views").addEventListener("change", compare);
}

begin().catch(tell);
