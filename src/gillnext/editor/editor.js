// Boxes over a picture, under mouse, touch and keyboard; after boxes.js.
"use strict";

/** A new element with these properties, at the end of `parent`. */
function element(tag, properties = {}, parent = null) {
  const made = Object.assign(document.createElement(tag), properties);
  if (parent) parent.append(made);
  return made;
}

/** Black or white, whichever is easier to read on a colour "#rrggbb". */
function ink(colour) {
  const light = (at) => (parseInt(colour.slice(at, at + 2), 16) / 255) ** 2.2;
  return 0.2126 * light(1) + 0.7152 * light(3) + 0.0722 * light(5) > 0.18 ? "#111111" : "#ffffff";
}

/** Give `node` the place and colour of box `i`. */
function outline(node, [x1, y1, x2, y2], colour) {
  Object.assign(node.style, {
    left: `${100 * x1}%`, top: `${100 * y1}%`, width: `${100 * (x2 - x1)}%`, height: `${100 * (y2 - y1)}%`,
  });
  node.style.setProperty("--colour", colour);
  node.style.setProperty("--ink", ink(colour));
  node.classList.toggle("high", y1 < 0.07); // no room for the name above it
}

const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

class Editor {
  /**
   * `stage` is the element that the picture fills, `layer` the one over it for the boxes, `list` a <ul> for their names.
   * `changed(done)` is called after every change of the boxes, with false while one goes on: a box is dragged, a name
   * typed. `naming()` is the name that a new box begins with; `most` as many boxes as there may be; `step` the fraction
   * of a side that an arrow key moves.
   */
  constructor({ stage, layer, list, colours, changed, naming = () => "", most = Infinity, step = 0.005 }) {
    Object.assign(this, { stage, layer, list, colours, changed, naming, most, step });
    Object.assign(this, { boxes: [], selected: -1, drag: null });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    stage.addEventListener("pointerup", (event) => this.#up(event));
    stage.addEventListener("pointercancel", (event) => this.#up(event));
    layer.addEventListener("keydown", (event) => this.#key(event));
    layer.addEventListener("focusin", (event) => this.select(Number(event.target.dataset.box), false));
  }

  /** Edit these boxes, [{ name, box }, …], in place. */
  load(boxes) {
    this.#release();
    Object.assign(this, { boxes, selected: -1, drag: null });
    this.draw();
  }

  colour(i) {
    return this.colours[i % this.colours.length];
  }

  /** Choose box `i`, or none (-1), and give it the keyboard's `focus`. */
  select(i, focus = true) {
    if (focus) this.#release();
    this.selected = i;
    this.draw();
    if (focus && i >= 0) this.layer.children[i].focus({ preventScroll: true });
  }

  add(box, name = this.naming()) {
    if (this.boxes.length >= this.most) return;
    this.boxes.push({ name, box });
    this.select(this.boxes.length - 1);
    this.changed(true);
  }

  remove(i) {
    this.#release();
    this.boxes.splice(i, 1);
    this.select(-1);
    this.changed(true);
  }

  /** Put the cursor into the name of box `i`. */
  rename(i) {
    this.list.children[i].querySelector("input").select();
  }

  draw() {
    this.#fit(this.layer, (i) => this.#box(i));
    this.#fit(this.list, (i) => this.#row(i));
    this.boxes.forEach(({ name, box }, i) => {
      const node = this.layer.children[i], row = this.list.children[i], input = row.querySelector("input");
      outline(node, box, this.colour(i));
      for (const one of [node, row]) one.classList.toggle("selected", i === this.selected);
      node.querySelector("span").textContent = name || "?";
      const [x1, y1, x2, y2] = box.map((v) => Math.round(100 * v));
      node.setAttribute("aria-label", `${name || "?"}, x ${x1}–${x2} %, y ${y1}–${y2} %`);
      if (input.value !== name) input.value = name;
    });
  }

  /** Take the keyboard's focus away: a name that is being typed is finished while its box is still where it was. */
  #release() {
    const active = document.activeElement;
    if (active && (this.layer.contains(active) || this.list.contains(active))) active.blur();
  }

  /** As many children as there are boxes; those that stay keep the keyboard's focus. */
  #fit(parent, make) {
    while (parent.children.length > this.boxes.length) parent.lastElementChild.remove();
    while (parent.children.length < this.boxes.length) parent.append(make(parent.children.length));
  }

  #box(i) {
    const node = element("div", { className: "box", tabIndex: 0 });
    node.setAttribute("role", "group");
    node.dataset.box = i;
    element("span", {}, node);
    for (const handle of HANDLES) element("i", { className: handle }, node).dataset.handle = handle;
    return node;
  }

  #row(i) {
    const row = element("li");
    row.style.setProperty("--colour", this.colour(i));
    const input = element("input", { placeholder: "名称 name", autocomplete: "off" }, row);
    input.setAttribute("list", "names"); // a property of the same name is only to be read
    input.setAttribute("aria-label", `框 ${i + 1} 的名称 name of box ${i + 1}`);
    input.addEventListener("focus", () => this.select(i, false));
    for (const done of [false, true]) {
      input.addEventListener(done ? "change" : "input", () => {
        this.boxes[i].name = input.value;
        this.draw();
        this.changed(done);
      });
    }
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.select(i);
    });
    const remove = element("button", { type: "button", textContent: "×", title: "delete (Delete)" }, row);
    remove.setAttribute("aria-label", `删除框 ${i + 1} delete box ${i + 1}`);
    remove.addEventListener("click", () => this.remove(i));
    return row;
  }

  /** Where in the picture, in fractions, a pointer is. */
  #point(event) {
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return [(event.clientX - left) / width, (event.clientY - top) / height];
  }

  #down(event) {
    if (event.button || this.drag) return;
    event.preventDefault();
    if (document.activeElement) document.activeElement.blur();
    const node = event.target.closest(".box"), handle = event.target.dataset.handle || "";
    this.select(node ? Number(node.dataset.box) : -1);
    const box = node ? this.boxes[this.selected].box : null;
    this.drag = { pointer: event.pointerId, from: this.#point(event), handle, box, made: false, moved: false };
    this.stage.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const drag = this.drag;
    if (!drag || event.pointerId !== drag.pointer) return;
    const [x, y] = this.#point(event), dx = x - drag.from[0], dy = y - drag.from[1];
    const box = drag.box
      ? drag.handle ? resized(drag.box, drag.handle, dx, dy) : moved(drag.box, dx, dy)
      : between(drag.from, [x, y]);
    if (!box || (!drag.box && !drag.made && this.boxes.length >= this.most)) return;
    if (!drag.box && !drag.made) {
      drag.made = true;
      this.selected = this.boxes.push({ name: this.naming(), box }) - 1;
    }
    drag.moved = true;
    this.boxes[this.selected].box = box;
    this.draw();
    this.changed(false);
  }

  #up(event) {
    const drag = this.drag;
    if (!drag || event.pointerId !== drag.pointer) return;
    this.drag = null;
    if (!drag.moved) return;
    if (drag.made && (event.pointerType === "mouse" || !this.boxes[this.selected].name)) this.rename(this.selected);
    else this.select(this.selected);
    this.changed(true);
  }

  /** Arrows move the chosen box, with Shift its lower right corner; Delete deletes it; Escape lets go. */
  #key(event) {
    const i = this.selected;
    if (i < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      const [dx, dy] = ARROWS[event.key].map((v) => v * this.step), one = this.boxes[i];
      one.box = event.shiftKey ? resized(one.box, "se", dx, dy) : moved(one.box, dx, dy);
      this.draw();
      this.changed(true);
    } else if (["Delete", "Backspace"].includes(event.key)) this.remove(i);
    else if (event.key === "Escape") this.select(-1);
    else return;
    event.preventDefault();
  }
}
