// What is packed is unpacked, and labels and Dice are what a count by hand gives.
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytesOf, moved, predict } from "../src/arrays.js";

// As make_data.py packs: seven bits a character, some written as 128 more.
function packed(bytes) {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  const codes = (bits + "0".repeat((7 - (bits.length % 7)) % 7)).match(/.{7}/g).map((code) => Number.parseInt(code, 2));
  return String.fromCharCode(...codes.map((code) => ([0, 10, 13, 34, 92].includes(code) ? code + 128 : code)));
}

for (const [name, bytes] of [["every byte", Array.from({ length: 256 }, (_, i) => i)], ["zeros", [0, 0, 0]], ["ones", Array(14).fill(255)], ["one byte", [93]]]) {
  test(`${name} comes back`, () => {
    const text = packed(bytes);
    assert.deepEqual([...bytesOf(text)], bytes);
    assert.ok(!/[\0\n\r"\\]/.test(text));
  });
}

test("the largest logit names the class, and Dice counts organs of the reference only", () => {
  const logits = { shape: [3, 1, 4], data: Float32Array.from([9, 0, 0, 0, 1, 2, 2, 0, 0, 1, 1, 5]) };
  const { found, scores } = predict(logits, Uint8Array.from([0, 1, 0, 0]), [{ name: "liver" }, { name: "spleen" }]);
  assert.deepEqual([...found], [0, 1, 1, 2]);
  assert.deepEqual(scores, [{ name: "liver", dice: 2 / 3 }]);
  assert.deepEqual(predict(logits, null, []).scores, []);
});

test("a change is a share of the length", () => assert.equal(moved([3, 4], [3, 9]), 1));
