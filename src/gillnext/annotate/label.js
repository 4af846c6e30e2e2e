// The CSV of the labelling page. Boxes are [x1, y1, x2, y2] in fractions of the image.
"use strict";

const HEADER = "image,name,x1,y1,x2,y2";
const quoted = (text) => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const clean = (name) => name.replace(/\s+/g, " ").trim();
const digits = (v) => String(Number(v.toFixed(6)));

/** The CSV of the images that were looked at; one without boxes has a row of its own. */
function toCsv(items) {
  const lines = [HEADER];
  for (const item of items.filter((one) => one.done)) {
    const image = quoted(item.image);
    if (!item.boxes.length) lines.push(`${image},,,,,`);
    for (const { name, box } of item.boxes) lines.push([image, quoted(clean(name)), ...box.map(digits)].join(","));
  }
  return `\ufeff${lines.join("\n")}\n`; // the mark tells spreadsheets that it is UTF-8
}

function cells(line) {
  const found = [];
  for (const match of line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)) {
    found.push(match[1] === undefined ? match[2] : match[1].replaceAll('""', '"'));
  }
  return found;
}

/** image → boxes of a CSV; rows that are not filled in ("?") are left out. Throws an Error that names the line. */
function fromCsv(text) {
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/), found = new Map();
  if (lines[0] !== HEADER) throw new Error(`line 1: the header must be ${HEADER}`);
  lines.slice(1).forEach((line, i) => {
    if (!line.trim()) return;
    const [image, name, ...rest] = cells(line), box = rest.map(Number);
    if (rest.length !== 4 || !image) throw new Error(`line ${i + 2}: six fields are wanted, ${HEADER}`);
    if (name === "?") return;
    if (!found.has(image)) found.set(image, []);
    if (!name && rest.every((v) => v === "")) return;
    const [x1, y1, x2, y2] = box;
    const good = rest.every((v) => v !== "") && x1 >= 0 && y1 >= 0 && x2 <= 1 && y2 <= 1 && x1 < x2 && y1 < y2;
    if (!clean(name) || !good) throw new Error(`line ${i + 2}: a name and a box in fractions, x1 < x2 and y1 < y2`);
    found.get(image).push({ name, box });
  });
  return found;
}

if (typeof module !== "undefined") module.exports = { toCsv, fromCsv };
