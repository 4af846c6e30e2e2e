// What a changed box has changed: two pictures, compared pixel by pixel.
"use strict";

/** The pixels of a picture at its own size. */
async function pixels(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight), pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

/** The boxes of `one` and `other` ([{ name, bbox }, …]) that the other does not have. */
function unlike(one, other) {
  const keys = (objects) => objects.map((thing) => JSON.stringify(thing));
  const [a, b] = [keys(one), keys(other)];
  return [...one.filter((_, i) => !b.includes(a[i])), ...other.filter((_, i) => !a.includes(b[i]))].map(({ bbox }) => bbox);
}

/**
 * Where two pictures of one size differ: a picture of it (grey, and the redder the more), and the mean difference in 0–255
 * `inside` the `boxes` and `outside` of them (null where there is no such pixel). Null where the sizes differ.
 */
async function difference(uri, otherUri, boxes) {
  const [one, other] = await Promise.all([pixels(uri), pixels(otherUri)]), { width, height } = one;
  if (width !== other.width || height !== other.height) return null;
  const sums = { inside: [0, 0], outside: [0, 0] };
  for (let at = 0; at < one.data.length; at += 4) {
    const x = ((at / 4) % width + 0.5) / width, y = (Math.floor(at / 4 / width) + 0.5) / height;
    let most = 0, grey = 0;
    for (let c = 0; c < 3; c++) {
      most = Math.max(most, Math.abs(one.data[at + c] - other.data[at + c]));
      grey += one.data[at + c] / 3;
    }
    const sum = sums[boxes.some(([x1, y1, x2, y2]) => x1 <= x && x < x2 && y1 <= y && y < y2) ? "inside" : "outside"];
    sum[0] += most;
    sum[1] += 1;
    const share = Math.min(Math.max(most - 16, 0) / 100, 1), pale = 150 + grey * 0.35;
    [200, 45, 30].forEach((red, c) => (one.data[at + c] = pale + (red - pale) * share));
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  canvas.getContext("2d").putImageData(one, 0, 0);
  const mean = ([sum, count]) => (count ? sum / count : null);
  return { picture: canvas.toDataURL(), inside: mean(sums.inside), outside: mean(sums.outside) };
}
