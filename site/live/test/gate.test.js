// The arithmetic that the page writes out gives the numbers that torch computed (gate.json, tests/helpers/live_gate.py).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { REACH, RULES, at, explain, number, written } from "../src/gate.js";

const { tensors, weights, attention_gate } = JSON.parse(readFileSync(new URL("gate.json", import.meta.url)));
const [channels, height, width] = tensors.x.shape;
const cells = Array.from({ length: channels * height * width }, (_, i) => ({ channel: Math.floor(i / (height * width)), row: Math.floor(i / width) % height, column: i % width }));

for (const name of Object.keys(RULES)) {
  test(`${name}: every cell's arithmetic gives its number`, () => {
    for (const cell of cells) {
      const expected = at(tensors[name], cell.channel, cell.row, cell.column);
      const { value, terms, lines } = explain(name, tensors, weights, cell);
      assert.ok(Math.abs(value - expected) < 1e-4, `${JSON.stringify(cell)}: ${value}, not ${expected}`);
      assert.ok(terms.length > 0 && lines.length > 0);
    }
  });
}

test("every tensor of the gate is explained, and its sources are named", () => {
  assert.deepEqual(Object.keys(tensors).filter((name) => !(name in RULES)), ["x", "g"]);
  assert.deepEqual(Object.keys(REACH).sort(), Object.keys(RULES).sort());
});

test("the attention gate's map", () => {
  for (const cell of cells) {
    const { value } = explain("attention", tensors, weights, cell, { off: {}, other: true });
    assert.ok(Math.abs(value - attention_gate[cell.row * width + cell.column]) < 1e-4);
  }
});

test("what is switched off says so and keeps its number", () => {
  const cell = cells[7];
  const { value, lines } = explain("u", tensors, weights, cell, { off: { u: "zero" }, other: false });
  assert.equal(value, at(tensors.u, cell.channel, cell.row, cell.column));
  assert.deepEqual(lines, ["switched off (zero), here"]);
});

test("outside of a map is padding", () => assert.equal(at(tensors.x, 0, -1, 0), 0));

test("numbers are short, and the rest of a long sum is one number", () => {
  assert.deepEqual([0, 1.23456, -2, 0.00001234, 123456].map(number), ["0.000", "1.235", "−2.000", "1.2e−5", "1.2e+5"]);
  const terms = [5, 4, 3, 2, 1].map((value) => ({ weight: 1, value }));
  assert.equal(written(terms), "5.000 + 4.000 + 3.000 + 3.000 (2 more)");
});
