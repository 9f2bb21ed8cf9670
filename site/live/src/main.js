// The page: what is chosen, what is drawn. The numbers come from network.js, the arithmetic from gate.js.
import { moved, predict } from "./arrays.js";
import { REACH, at, explain, number } from "./gate.js";
import { openNetwork } from "./network.js";

const $ = (id) => document.getElementById(id);
const NOTICEABLE = 1e-4; // a relative change below is rounding
const NAMES = { x: "skip features X", g: "gating features G", local_context: "local context of X", channel_mean: "mean of G over channels", channel_max: "maximum of G over channels", global_context: "global context of G", u: "fused features U", weight_x: "selection weight of X", weight_g: "selection weight of G", x_selected: "X', X selected", g_selected: "G', G selected", x_gate: "sigmoid of G'", g_gate: "sigmoid of X'", x_modulated: "X'', X modulated", g_modulated: "G'', G modulated", u_modulated: "U', the product", attention: "attention map A", x_attended: "X weighed by A", output: "output Y" };
const LEVELS = [2, 1, 0]; // in the order in which they run
const REST = 150; // milliseconds without a wish, after which the other gates and the slices around are computed
const KEPT = 16; // slices whose passes are kept, 3 MB each

let network;
let palettes;
let tints; // of the organs, over gray
let pending = Promise.resolve();
let asked = 0;
// usual: the pass as trained; shown: that of the controls, the same where they change nothing; others: of the other gates.
const state = { index: 0, wish: null, gray: null, label: null, features: null, usual: null, shown: null, others: {}, controls: null, level: 0, cell: { channel: 0, row: 16, column: 16 }, map: "u", terms: [] };
const kept = new Map(); // a shipped slice's index -> what no control changes of it; the latest last
const images = new WeakMap(); // a canvas -> its pixels
const pictures = {};
const slice = {};
const boxes = {};

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const levels = () => network.about.levels;
const tensor = (name, pass = state.shown) => pass.tensors[`${state.level}/${name}`];

// What the controls say of the shown level: tensor -> words for what was switched off, and whether the attention gate runs.
function change() {
  const get = (name) => network.get(state.controls, state.level, name);
  const off = {};
  for (const { name, instead, tensors } of network.about.stages) {
    if (get(name)) for (const tensor of tensors) off[tensor] = instead;
  }
  return { off, other: get("attention gate") > 0 };
}

function readControls() {
  const controls = network.asTrained();
  for (const level of $("scope").value === "all" ? LEVELS : [state.level]) {
    network.set(controls, level, "scale of G", Number($("scale").value));
    network.set(controls, level, "X shuffled", Number($("shuffle").checked));
    if ($("stage").value) network.set(controls, level, $("stage").value, 1);
    if ($("gate").value === "attention") network.set(controls, level, "attention gate", 1);
    if ($("gate").value === "addition") network.set(controls, level, "gate", 1);
  }
  return controls;
}

// A pass of the levels from `first` on, with its label map and scores.
async function run({ features, label }, controls, first, before, goOn) {
  const tensors = await network.decode(features, controls, first, before, goOn);
  return tensors && { tensors, ...predict(tensors.logits, label, network.about.classes) };
}

// Gray values and labels with what no control changes of them, kept of a shipped slice. Ends early once goOn says no.
async function prepare({ index, gray, label }, goOn) {
  const found = kept.get(index) ?? { index, gray, label, features: await network.encode(gray), others: {} };
  kept.delete(index);
  if (index !== null) kept.set(index, found);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  found.usual ??= await run(found, network.asTrained(), 2, {}, goOn);
  return found;
}

// Compute and draw; the newest wish wins, those in between are dropped.
function update(wish = null) {
  const mine = ++asked;
  state.wish = wish ?? state.wish;
  pending = pending.then(async () => {
    if (mine !== asked) return;
    const wanted = state.wish;
    state.wish = null;
    if (wanted) Object.assign(state, await prepare(wanted));
    const usual = network.asTrained();
    state.controls = readControls();
    const count = network.about.controls.length;
    const first = LEVELS.find((level) => state.controls.some((value, place) => value !== usual[place] && Math.floor(place / count) === level));
    state.shown = first === undefined ? state.usual : await run(state, state.controls, first, state.usual.tensors);
    draw();
    drawPredictions();
    setTimeout(rest, REST, mine);
  });
  return pending;
}

// Once the reader rests: the attention gate and plain addition on the same slice, then the slices around it. A wish
// stops it between two parts of the network.
function rest(mine) {
  const goOn = async () => {
    await new Promise((done) => setTimeout(done));
    return mine === asked;
  };
  pending = pending.then(async () => {
    for (const [name, control] of [["attention gate", "attention gate"], ["plain addition", "gate"]]) {
      if (mine !== asked) return;
      if (state.others[name]) continue;
      const controls = network.asTrained();
      for (const level of LEVELS) network.set(controls, level, control, 1);
      const found = await run(state, controls, 2, {}, goOn);
      if (!found) return;
      state.others[name] = found;
      drawPredictions();
    }
    for (const index of around()) if (await goOn()) await prepare(network.slice(index), goOn);
  });
}

// The other slices of the same patient that are kept beside the shown one, the nearest first; none of a picture.
function around() {
  const { slices } = network.about;
  const own = slices.flatMap((one, index) => (one.case === slices[state.index]?.case && index !== state.index ? [index] : []));
  return own.sort((a, b) => Math.abs(a - state.index) - Math.abs(b - state.index)).slice(0, KEPT - 1);
}

function fill(canvas, height, width, color) {
  let image = images.get(canvas);
  if (image?.width !== width || image.height !== height) {
    Object.assign(canvas, { width, height });
    image = new ImageData(width, height);
    images.set(canvas, image);
  }
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = color(i);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const packedColor = (red, green, blue) => (255 << 24) | (blue << 16) | (green << 8) | red;

const channelOf = (one, channel) => {
  const [channels, height, width] = one.shape;
  const start = Math.min(channel, channels - 1) * height * width;
  return one.data.subarray(start, start + height * width);
};

function draw() {
  const { about } = network;
  const { off, other } = change();
  for (const [name, [, , , kind]] of Object.entries(about.boxes)) {
    const [now, before] = [tensor(name), tensor(name, state.usual)];
    const values = channelOf(now, state.cell.channel);
    const high = kind === "shares" ? 1 : channelOf(before, state.cell.channel).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const low = kind === "shares" ? 0 : -high;
    const scale = 255 / (high - low || 1);
    fill(boxes[name].canvas, now.shape[1], now.shape[2], (i) => palettes[kind][Math.max(0, Math.min(255, Math.round((values[i] - low) * scale)))]);
    const replaced = name in off || (other && (name === "attention" || name === "output"));
    boxes[name].figure.classList.toggle("replaced", replaced);
    boxes[name].figure.classList.toggle("changed", !replaced && now !== before && moved(before.data, now.data) > NOTICEABLE);
    boxes[name].shape.textContent = ` · ${now.shape[0]} ch`;
  }
  $("channel-said").textContent = `${state.cell.channel}, of 0 to ${levels()[state.level].channels - 1}`;
  $("scale-said").textContent = Number($("scale").value).toFixed(2);
  $("slice-said").textContent = state.label ? about.slices[state.index].z : "yours";
  drawCell();
}

function arithmetic(name, tensors) {
  const found = explain(name, tensors, network.weights[state.level], state.cell, change());
  const { width, order } = levels()[state.level];
  if (name === "x" && network.get(state.controls, state.level, "X shuffled")) {
    const from = order[state.cell.row * width + state.cell.column];
    found.lines = [`X, shuffled: these numbers come from row ${Math.floor(from / width)}, column ${from % width}`];
  }
  if (name === "g") found.lines = [`G comes from the decoder, times ${number(network.get(state.controls, state.level, "scale of G"))}`];
  return found;
}

function drawCell() {
  const { row, column, channel } = state.cell;
  const { height, width } = levels()[state.level];
  const tensors = Object.fromEntries(Object.keys(boxes).map((name) => [name, tensor(name)]));
  const found = Object.fromEntries(Object.keys(boxes).map((name) => [name, arithmetic(name, tensors)]));
  const from = change().off[state.map] === undefined ? (REACH[state.map] ?? {}) : {};
  for (const [name, { marker, value, figure, canvas }] of Object.entries(boxes)) {
    const reach = name === state.map ? 0 : (from[name] ?? 0);
    const [top, left] = [Math.max(0, row - reach), Math.max(0, column - reach)];
    const [bottom, right] = [Math.min(height, row + reach + 1), Math.min(width, column + reach + 1)];
    Object.assign(marker.style, { top: `${(100 * top) / height}%`, left: `${(100 * left) / width}%`, height: `${(100 * (bottom - top)) / height}%`, width: `${(100 * (right - left)) / width}%` });
    const said = number(at(tensors[name], channel, row, column));
    value.textContent = said;
    figure.classList.toggle("chosen", name === state.map);
    figure.classList.toggle("source", name in from);
    canvas.setAttribute("aria-label", `${NAMES[name]}; row ${row}, column ${column}, channel ${channel}: ${said}. Arrow keys move the cell.`);
  }
  Object.assign($("slice-marker").style, { top: `${(100 * row) / height}%`, left: `${(100 * column) / width}%`, height: `${100 / height}%`, width: `${100 / width}%` });
  const chosen = found[state.map];
  state.said = `row ${row}, column ${column}, channel ${channel}: ${chosen.lines[0]} = ${number(chosen.value)}`;
  $("cell-title").textContent = `${network.about.boxes[state.map][2]} at row ${row}, column ${column}, channel ${channel}: ${number(chosen.value)}`;
  $("arithmetic").replaceChildren(...chosen.lines.map((line, place) => element("p", { className: place ? "small" : "" }, place ? line : `${line} = ${number(chosen.value)}`)));
  state.terms = chosen.terms;
  $("terms-title").textContent = chosen.terms.length ? `All ${chosen.terms.length} terms` : "No terms";
  if ($("all-terms").open) drawTerms();
  drawStages(found);
}

function drawTerms() {
  const rows = state.terms.map((term) => element("tr", {}, ...[term.label, number(term.weight), number(term.value), number(term.weight * term.value)].map((words) => element("td", {}, words))));
  const head = element("tr", {}, ...["input", "weight", "value", "product"].map((words) => element("th", { scope: "col" }, words)));
  $("terms").replaceChildren(element("table", {}, head, ...rows));
}

function drawStages(found) {
  const { boxes: places, columns } = network.about;
  const parts = columns.map(([title, left, right]) => {
    const names = Object.keys(places).filter((name) => places[name][0] > left && places[name][0] < right);
    const lines = names.map((name) => element("li", { className: name === state.map ? "chosen" : "" }, `${found[name].lines[0]} = ${number(found[name].value)}`));
    return element("section", {}, element("h3", {}, title), element("ul", {}, ...lines));
  });
  $("stages").replaceChildren(...parts);
}

function makePictures() {
  for (const name of ["MASAG as trained", "with your changes", "attention gate", "plain addition", "reference"]) {
    const [canvas, words] = [element("canvas"), element("span")];
    canvas.setAttribute("role", "img");
    const figure = element("figure", {}, canvas, element("figcaption", {}, element("strong", {}, name), element("br"), words));
    pictures[name] = { canvas, words, figure };
    $("pictures").append(figure);
  }
  tints = network.about.classes.map(({ color }) => [1, 3, 5].map((start) => 0.55 * Number.parseInt(color.slice(start, start + 2), 16)));
  for (const { name, color } of network.about.classes) {
    const swatch = element("span", { className: "swatch" });
    swatch.style.background = color;
    $("predictions-said").append(element("span", { className: "key" }, swatch, name));
  }
}

function drawPredictions() {
  const changed = state.shown !== state.usual && state.shown;
  const passes = { "MASAG as trained": state.usual, "with your changes": changed, ...state.others, reference: { found: state.label } };
  pictures.reference.figure.hidden = !state.label;
  for (const [name, { canvas, words }] of Object.entries(pictures)) {
    const { found = null, scores = [] } = passes[name] || {};
    const mean = scores.reduce((sum, one) => sum + one.dice, 0) / scores.length;
    if (name === "reference") words.textContent = "a model's labels";
    else if (!found) words.textContent = name === "with your changes" ? "no change" : "coming";
    else words.textContent = scores.length ? `Dice ${mean.toFixed(3)}` : "no reference";
    canvas.setAttribute("aria-label", `${name}: ${words.textContent}; ${scores.map((one) => `${one.name} ${one.dice.toFixed(2)}`).join(", ")}`);
    drawLabels(pictures[name], found);
  }
  drawLabels(slice, null);
}

// The slice in gray, labels over it; not again where it shows them already.
function drawLabels(picture, found) {
  const { gray } = state;
  if (picture.gray === gray && picture.found === found) return;
  Object.assign(picture, { gray, found });
  const { side } = network.about;
  fill(picture.canvas, side, side, (i) => {
    const [light, tint] = [255 * gray[i], found?.[i] ? tints[found[i] - 1] : null];
    return tint ? packedColor(0.45 * light + tint[0], 0.45 * light + tint[1], 0.45 * light + tint[2]) : packedColor(light, light, light);
  });
}

function choose(name, row, column, aloud) {
  const { height, width } = levels()[state.level];
  state.map = name;
  state.cell.row = Math.max(0, Math.min(height - 1, row));
  state.cell.column = Math.max(0, Math.min(width - 1, column));
  drawCell();
  if (aloud) speak();
}

function speak() {
  $("spoken").textContent = `${NAMES[state.map]}, ${state.said}`;
}

// Its place among the `span` columns of its stage.
function put(figure, column, span, row) {
  Object.assign(figure.style, { left: `${(100 * (column + 0.5)) / span}%`, top: `calc(${row} * var(--row) + 2.4rem)` });
}

function makeBox(name, [column, row, formula], first, span) {
  const canvas = element("canvas", { tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "map");
  const marker = element("span", { className: "marker" });
  const [value, shape] = [element("span", { className: "value" }), element("span", { className: "shape" })];
  const figure = element("figure", { className: "box" }, element("figcaption", {}, formula), element("div", { className: "map" }, canvas, marker), value, shape);
  put(figure, column - first, span, row);
  figure.dataset.name = name;
  const point = (event, aloud) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const size = levels()[state.level];
    choose(name, Math.floor(((event.clientY - top) / height) * size.height), Math.floor(((event.clientX - left) / width) * size.width), aloud);
  };
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && point(event, false));
  canvas.addEventListener("click", (event) => point(event, true));
  canvas.addEventListener("focus", () => choose(name, state.cell.row, state.cell.column, false));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const channel = { PageUp: 1, PageDown: -1 }[event.key];
    if (!step && !channel) return;
    event.preventDefault();
    if (step) choose(name, state.cell.row + step[0], state.cell.column + step[1], true);
    else {
      $("channel").value = state.cell.channel + channel;
      $("channel").dispatchEvent(new Event("input"));
      speak();
    }
  });
  boxes[name] = { figure, canvas, marker, value, shape };
  return figure;
}

// The slice itself, between X and G, with the cell's place on it.
function makeSlice() {
  const canvas = element("canvas", { id: "slice-image" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "the slice");
  slice.canvas = canvas;
  const figure = element("figure", { className: "box" }, element("figcaption", {}, "the slice"), element("div", { className: "map" }, canvas, element("span", { className: "marker", id: "slice-marker" })));
  put(figure, 0, 1, 2);
  return figure;
}

function makeDiagram() {
  const { boxes: places, columns } = network.about;
  const bands = [["inputs", -0.5, 0.5], ...columns];
  const stages = bands.map(([title, left, right], place) => {
    const [first, last] = [left + 0.5, place + 1 < bands.length ? bands[place + 1][1] + 0.5 : 12];
    const names = Object.keys(places).filter((name) => places[name][0] > left && places[name][0] < right);
    const made = names.map((name) => makeBox(name, places[name], first, last - first));
    if (place === 0) made.splice(1, 0, makeSlice());
    const band = element("section", { className: `stage stage-${place}` }, element("h3", {}, title), ...made);
    band.style.setProperty("--left", `${(100 * first) / 12}%`);
    band.style.setProperty("--width", `${(100 * (last - first)) / 12}%`);
    return band;
  });
  const arrows = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  arrows.setAttribute("aria-hidden", "true");
  $("diagram").append(arrows, ...stages);
  new ResizeObserver(drawArrows).observe($("diagram"));
}

// Lines from a map to those made of it; on a phone maps stand below each other and there are none.
function drawArrows() {
  const arrows = $("diagram").querySelector("svg");
  const frame = $("diagram").getBoundingClientRect();
  const place = (name) => {
    const one = boxes[name].canvas.getBoundingClientRect();
    return { left: one.left - frame.left, right: one.right - frame.left, top: one.top - frame.top, bottom: one.bottom - frame.top, x: (one.left + one.right) / 2 - frame.left, y: (one.top + one.bottom) / 2 - frame.top };
  };
  const path = ([from, to]) => {
    const [a, b] = [place(from), place(to)];
    if (from === "x" && to === "x_attended") return `M${a.x} ${a.top - 18} V26 H${b.x} V${b.top - 20}`;
    if (Math.abs(a.x - b.x) < 2) return a.y < b.y ? `M${a.x} ${a.bottom} V${b.top}` : `M${a.x} ${a.top} V${b.bottom}`;
    return `M${a.right} ${a.y} L${b.left} ${b.y + 14 * Math.sign(a.y - b.y)}`;
  };
  arrows.innerHTML = `<defs><marker id="head" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z"/></marker></defs>${network.about.flow.map((pair) => `<path class="arrow" d="${path(pair)}" marker-end="url(#head)"/>`).join("")}`;
}

function takeSlice(index) {
  return update(network.slice(index));
}

async function takePicture(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const { side } = network.about;
    const canvas = element("canvas", { width: side, height: side });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const scale = side / Math.min(bitmap.width, bitmap.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (side - scale * bitmap.width) / 2, (side - scale * bitmap.height) / 2, scale * bitmap.width, scale * bitmap.height);
    const { data } = context.getImageData(0, 0, side, side);
    const gray = Float32Array.from({ length: side * side }, (_, i) => (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255);
    $("status").textContent = `${file.name}: its middle square, gray, ${side} × ${side} pixels.`;
    await update({ index: null, gray, label: null });
  } catch {
    $("status").textContent = `${file.name}: this browser cannot read it as a picture; take a PNG or JPEG.`;
  }
}

function takeLevel(level) {
  const before = levels()[state.level];
  state.level = level;
  const { channels, height, width } = levels()[level];
  state.cell = { channel: Math.min(state.cell.channel, channels - 1), row: Math.floor((state.cell.row * height) / before.height), column: Math.floor((state.cell.column * width) / before.width) };
  $("channel").max = channels - 1;
  $("channel").value = state.cell.channel;
}

function makeControls() {
  const { about } = network;
  const cases = [...new Set(about.slices.map((one) => one.case))];
  $("case").append(...cases.map((name) => new Option(name, name)));
  $("level").append(...about.levels.map(({ height, width }, place) => new Option(`${place}: ${height} × ${width} cells`, place)));
  $("stage").append(new Option("nothing", ""), ...about.stages.filter(({ name }) => name !== "gate").map(({ name, instead }) => new Option(`${name} (${instead})`, name)));
  const own = () => about.slices.flatMap((one, index) => (one.case === $("case").value ? [index] : []));
  const open = (place) => {
    $("slice").max = own().length - 1;
    $("slice").value = place;
    takeSlice(own()[place]);
  };
  $("case").addEventListener("input", () => open(Math.floor(own().length / 2)));
  $("slice").addEventListener("input", () => open(Number($("slice").value)));
  $("level").addEventListener("input", () => {
    takeLevel(Number($("level").value));
    update();
  });
  $("channel").addEventListener("input", () => {
    state.cell.channel = Number($("channel").value);
    draw();
  });
  for (const id of ["scale", "shuffle", "stage", "gate", "scope"]) $(id).addEventListener("input", () => update());
  $("reset").addEventListener("click", () => {
    Object.assign($("scale"), { value: 1 });
    $("shuffle").checked = false;
    for (const [id, value] of [["stage", ""], ["gate", "masag"], ["scope", "one"]]) $(id).value = value;
    update();
  });
  $("all-terms").addEventListener("toggle", drawTerms);
  $("picture").addEventListener("change", () => $("picture").files[0] && takePicture($("picture").files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) takePicture(event.dataTransfer.files[0]);
  });
  takeLevel(0);
  open(Math.floor(own().length / 2));
}

async function start() {
  const tell = (words) => {
    $("status").textContent = `${words} …`;
  };
  try {
    network = await openNetwork(tell);
    for (const id of ["controls", "diagram", "legend", "explained", "predictions", "followed"]) $(id).hidden = false;
    palettes = Object.fromEntries(Object.entries(network.about.palettes).map(([name, colors]) => [name, Int32Array.from(colors, (color) => packedColor(...color))]));
    makeDiagram();
    makePictures();
    makeControls();
    await pending;
    for (const index of around().slice(0, 2)) await prepare(network.slice(index)); // and the browser compiles what runs often
    // The channel whose attention varies most over the slice shows most.
    const spread = Array.from({ length: levels()[0].channels }, (_, k) => {
      const values = channelOf(tensor("attention"), k);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    });
    $("channel").value = spread.indexOf(Math.max(...spread));
    $("channel").dispatchEvent(new Event("input"));
    $("status").textContent = "Ready: point at a map, or press Tab and the arrow keys.";
    globalThis.live = { state, network, update: () => pending, choose };
    document.body.dataset.ready = "yes";
  } catch (error) {
    $("status").textContent = `This page could not start: ${error.message}`;
    throw error;
  }
}

start();
