// Boxes are [x1, y1, x2, y2] in fractions of the image.
"use strict";

const LEAST = 0.004; // of a side: a box is never thinner

const within = (v) => Math.min(Math.max(v, 0), 1);

/** The box moved by (dx, dy), as far as the image goes. */
function moved([x1, y1, x2, y2], dx, dy) {
  const x = Math.min(Math.max(dx, -x1), 1 - x2), y = Math.min(Math.max(dy, -y1), 1 - y2);
  return [x1 + x, y1 + y, x2 + x, y2 + y].map(within); // a sum may lie a rounding beyond the image
}

/** The box with the sides that `handle` names ("n", "se", …) moved by (dx, dy); they stop at the image and each other. */
function resized([x1, y1, x2, y2], handle, dx, dy) {
  if (handle.includes("w")) x1 = Math.min(within(x1 + dx), x2 - LEAST);
  if (handle.includes("e")) x2 = Math.max(within(x2 + dx), x1 + LEAST);
  if (handle.includes("n")) y1 = Math.min(within(y1 + dy), y2 - LEAST);
  if (handle.includes("s")) y2 = Math.max(within(y2 + dy), y1 + LEAST);
  return [x1, y1, x2, y2];
}

/** The box between two corners in any order, or null where it is too thin to be meant. */
function between([ax, ay], [bx, by]) {
  const box = [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)].map(within);
  return box[2] - box[0] < LEAST || box[3] - box[1] < LEAST ? null : box;
}

if (typeof module !== "undefined") module.exports = { moved, resized, between };
