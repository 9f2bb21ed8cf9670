// The gate's arithmetic, cell by cell: which numbers made a number, and how. Nothing here touches the page.
//
// tensors: name -> {data, shape: [c, h, w]}; weights: layer -> {weight, scale, shift}, where a layer computes
// scale * (weight . inputs) + shift (a convolution with its bias and batch norm in one). Names are the library's.

export const sigmoid = (value) => 1 / (1 + Math.exp(-value));

export function at(tensor, channel, row, column) {
  const [channels, height, width] = tensor.shape;
  if (row < 0 || column < 0 || row >= height || column >= width) return 0; // padding
  return tensor.data[(Math.min(channel, channels - 1) * height + row) * width + column];
}

export const number = (value) => {
  const size = Math.abs(value);
  const text = size !== 0 && (size < 0.001 || size >= 10000) ? value.toExponential(1) : value.toFixed(3);
  return text.replaceAll("-", "−");
};

const product = (term) => (term.weight === 1 ? number(term.value) : `${number(term.weight)} · ${number(term.value)}`);

// The three largest terms in words, and the sum of the rest.
export function written(terms) {
  const ordered = [...terms].sort((a, b) => Math.abs(b.weight * b.value) - Math.abs(a.weight * a.value));
  const shown = ordered.slice(0, terms.length <= 4 ? 4 : 3);
  const rest = ordered.slice(shown.length).reduce((sum, term) => sum + term.weight * term.value, 0);
  const words = shown.map(product).join(" + ");
  return terms.length > shown.length ? `${words} + ${number(rest)} (${terms.length - shown.length} more)` : words;
}

function weighed(layer, output, values, labels) {
  const start = output * values.length;
  const terms = values.map((value, k) => ({ label: labels(k), weight: layer.weight[start + k], value }));
  const sum = terms.reduce((total, term) => total + term.weight * term.value, 0);
  return { terms, sum, value: layer.scale[output] * sum + layer.shift[output] };
}

const scaled = (layer, output, words) => `${number(layer.scale[output])} · (${words}) + ${number(layer.shift[output])}`;
const offsets = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [dy, dx]));

// One 3 x 3 depthwise convolution with ReLU, at a cell; `read` gives the input there.
function depthwise(layer, channel, read, row, column, dilation) {
  let sum = 0;
  for (let k = 0; k < 9; k++) sum += layer.weight[9 * channel + k] * read(row + dilation * (Math.floor(k / 3) - 1), column + dilation * ((k % 3) - 1));
  return Math.max(0, layer.scale[channel] * sum + layer.shift[channel]);
}

// The same, its terms in words.
function depthwiseWritten(layer, channel, read, row, column, dilation) {
  const values = offsets.map(([dy, dx]) => read(row + dilation * dy, column + dilation * dx));
  const { terms } = weighed(layer, channel, values, (k) => `row ${row + dilation * offsets[k][0]}, column ${column + dilation * offsets[k][1]}`);
  return `ReLU(${scaled(layer, channel, written(terms))}) = ${number(depthwise(layer, channel, read, row, column, dilation))}`;
}

// Local context of a cell: two depthwise convolutions, then a mixture of channels.
export function local(tensors, weights, { channel, row, column }) {
  const [channels, height, width] = tensors.x.shape;
  const inside = (r, c) => r >= 0 && c >= 0 && r < height && c < width;
  const x = (k) => (r, c) => at(tensors.x, k, r, c);
  const first = (k) => (r, c) => (inside(r, c) ? depthwise(weights.depthwise, k, x(k), r, c, 1) : 0);
  const second = Array.from({ length: channels }, (_, k) => depthwise(weights.dilated, k, first(k), row, column, 2));
  const found = weighed(weights.pointwise, channel, second, channelLabel);
  const strongest = found.terms.reduce((best, term, k) => (Math.abs(term.weight * term.value) > Math.abs(found.terms[best].weight * found.terms[best].value) ? k : best), 0);
  return {
    ...found,
    lines: [
      `L = 1 × 1 of the channels = ${scaled(weights.pointwise, channel, written(found.terms))}`,
      `of channel ${strongest}, 3 × 3 with gaps: ${depthwiseWritten(weights.dilated, strongest, first(strongest), row, column, 2)}`,
      `in its middle, 3 × 3 on X: ${depthwiseWritten(weights.depthwise, strongest, x(strongest), row, column, 1)}`,
    ],
  };
}

const column = (tensor, cell) => Array.from({ length: tensor.shape[0] }, (_, k) => at(tensor, k, cell.row, cell.column));
const channelLabel = (k) => `channel ${k}`;

// The attention gate's one map: sigmoid(psi(ReLU(theta(x) + phi(g)))).
function additive(tensors, weights, cell) {
  const inner = weights.theta.scale.length;
  const [x, g] = [column(tensors.x, cell), column(tensors.g, cell)];
  const hidden = Array.from({ length: inner }, (_, j) => Math.max(0, weighed(weights.theta, j, x, channelLabel).value + weighed(weights.phi, j, g, channelLabel).value));
  const found = weighed(weights.psi, 0, hidden, (j) => `inner channel ${j}`);
  return { terms: found.terms, value: sigmoid(found.value), lines: [`A = σ(1 × 1 of the inner channels) = σ(${scaled(weights.psi, 0, written(found.terms))}) = σ(${number(found.value)})`, "each inner channel is ReLU(θX + φG): 1 × 1 convolutions of both"] };
}

function mixture(name, layer, from, output, wrap = (words) => words, after = (value) => value) {
  const found = weighed(layer, output, from, channelLabel);
  return { terms: found.terms, value: after(found.value), lines: [`${name} = ${wrap(scaled(layer, output, written(found.terms)))}`] };
}

function two(formula, a, b, value) {
  return { terms: [a, b].map(([label, number]) => ({ label, weight: 1, value: number })), value, lines: [formula] };
}

// How each tensor's number at a cell follows from those before it; the same order and names as the library's `STEPS`.
export const RULES = {
  local_context: local,
  channel_mean: (t, _w, cell) => {
    const values = column(t.g, cell);
    const terms = values.map((value, k) => ({ label: channelLabel(k), weight: 1 / values.length, value }));
    const sum = values.reduce((total, value) => total + value, 0);
    return { terms, value: sum / values.length, lines: [`mean of G = sum of ${values.length} channels / ${values.length} = ${number(sum)} / ${values.length}`] };
  },
  channel_max: (t, _w, cell) => {
    const values = column(t.g, cell);
    const best = values.indexOf(Math.max(...values));
    return { terms: values.map((value, k) => ({ label: channelLabel(k), weight: k === best ? 1 : 0, value })), value: values[best], lines: [`max of G = its largest channel here, channel ${best}`] };
  },
  global_context: (t, w, { row, column: c }) => {
    const from = [at(t.channel_mean, 0, row, c), at(t.channel_max, 0, row, c)];
    const found = weighed(w.mix, 0, from, (k) => ["mean", "max"][k]);
    return { terms: found.terms, value: found.value, lines: [`Γ = 1 × 1 of mean and max = ${scaled(w.mix, 0, written(found.terms))}`] };
  },
  u: (t, w, { channel, row, column: c }) => {
    const [l, g] = [at(t.local_context, channel, row, c), at(t.global_context, 0, row, c)];
    const value = w.fused.scale[channel] * (l + g) + w.fused.shift[channel];
    return two(`U = BN(L + Γ) = ${scaled(w.fused, channel, `${number(l)} + ${number(g)}`)}`, ["L", l], ["Γ", g], value);
  },
  weight_x: (t, w, cell) => share(t, w, cell, 0),
  weight_g: (t, w, cell) => share(t, w, cell, 1),
  x_selected: (t, _w, cell) => selected("X", t.weight_x, t.x, cell),
  g_selected: (t, _w, cell) => selected("G", t.weight_g, t.g, cell),
  x_gate: (t, _w, cell) => squashed("G'", t.g_selected, cell),
  g_gate: (t, _w, cell) => squashed("X'", t.x_selected, cell),
  x_modulated: (t, _w, cell) => times("X''", ["X'", t.x_selected], ["σ(G')", t.x_gate], cell),
  g_modulated: (t, _w, cell) => times("G''", ["G'", t.g_selected], ["σ(X')", t.g_gate], cell),
  u_modulated: (t, _w, cell) => times("U'", ["X''", t.x_modulated], ["G''", t.g_modulated], cell),
  attention: (t, w, cell) => mixture("A = σ(1 × 1 of U')", w.attend, column(t.u_modulated, cell), cell.channel, (words) => `σ(${words})`, sigmoid),
  x_attended: (t, _w, cell) => times("A X", ["A", t.attention], ["X", t.x], cell),
  output: (t, w, cell) => mixture("Y = 1 × 1 of A X", w.project, column(t.x_attended, cell), cell.channel),
};

function share(t, w, cell, which) {
  const values = column(t.u, cell);
  const scores = [0, 1].map((k) => weighed(w.select, k, values, channelLabel));
  const [own, other] = [scores[which].value, scores[1 - which].value];
  const name = ["X", "G"][which];
  return {
    terms: scores[which].terms,
    value: 1 / (1 + Math.exp(other - own)),
    lines: [`w of ${name} = e^s / (e^s + e^t) = e^${number(own)} / (e^${number(own)} + e^${number(other)})`, `its score s = 1 × 1 of U = ${written(scores[which].terms)} + ${number(w.select.shift[which])} = ${number(own)}; t is that of the other`],
  };
}

function selected(name, weight, input, { channel, row, column: c }) {
  const [w, v] = [at(weight, 0, row, c), at(input, channel, row, c)];
  return two(`${name}' = w ${name} + ${name} = ${number(w)} · ${number(v)} + ${number(v)}`, ["w", w], [name, v], w * v + v);
}

function squashed(name, input, { channel, row, column: c }) {
  const v = at(input, channel, row, c);
  return { terms: [{ label: name, weight: 1, value: v }], value: sigmoid(v), lines: [`σ(${name}) = 1 / (1 + e^−${name}) = 1 / (1 + e^(${number(-v)}))`] };
}

function times(name, [a, first], [b, second], { channel, row, column: c }) {
  const [p, q] = [at(first, channel, row, c), at(second, channel, row, c)];
  return two(`${name} = ${a} · ${b} = ${number(p)} · ${number(q)}`, [a, p], [b, q], p * q);
}

// The arithmetic of one number: lines to read, all terms, and the value they give. change: {off: {tensor: words}, other}.
export function explain(name, tensors, weights, cell, change = { off: {}, other: false }) {
  const words = change.off[name];
  const value = at(tensors[name], cell.channel, cell.row, cell.column);
  if (change.other && name === "attention") return additive(tensors, weights, cell);
  if (change.other && name === "output") return { terms: [], value: at(tensors.x_attended, cell.channel, cell.row, cell.column), lines: ["Y = A X: nothing follows in the attention gate"] };
  if (words !== undefined) return { terms: [], value, lines: [`switched off (${words}), here`] };
  if (RULES[name] === undefined) return { terms: [], value, lines: [name === "x" ? "X comes from the encoder" : "G comes from the decoder level below"] };
  return RULES[name](tensors, weights, cell);
}

// Which cells of which maps a number was made of: tensor -> how many cells to each side.
export const REACH = {
  local_context: { x: 3 }, channel_mean: { g: 0 }, channel_max: { g: 0 }, global_context: { channel_mean: 0, channel_max: 0 },
  u: { local_context: 0, global_context: 0 }, weight_x: { u: 0 }, weight_g: { u: 0 }, x_selected: { weight_x: 0, x: 0 },
  g_selected: { weight_g: 0, g: 0 }, x_gate: { g_selected: 0 }, g_gate: { x_selected: 0 }, x_modulated: { x_selected: 0, x_gate: 0 },
  g_modulated: { g_selected: 0, g_gate: 0 }, u_modulated: { x_modulated: 0, g_modulated: 0 }, attention: { u_modulated: 0 },
  x_attended: { attention: 0, x: 0 }, output: { x_attended: 0 },
};
