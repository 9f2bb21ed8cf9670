// Plain arrays: what is packed, what the network predicts, how far two tensors are apart. Nothing here touches the page.

// Seven bits a character, from the high one on; some characters are written as 128 more (make_data.py).
export function bytesOf(text) {
  const bytes = new Uint8Array((7 * text.length) / 8);
  let [held, bits, place] = [0, 0, 0];
  for (let i = 0; i < text.length; i++) {
    held = ((held & 127) << 7) | (text.charCodeAt(i) & 127);
    bits += 7;
    if (bits < 8) continue;
    bits -= 8;
    bytes[place++] = held >> bits;
  }
  return bytes;
}

// The class of each pixel, and Dice of each organ that is in the reference, 0 to 1.
export function predict(logits, reference, classes) {
  const [count, height, width] = logits.shape;
  const size = height * width;
  const best = logits.data.slice(0, size);
  const found = new Uint8Array(size);
  for (let k = 1; k < count; k++) {
    for (let i = 0; i < size; i++) {
      if (logits.data[k * size + i] > best[i]) {
        best[i] = logits.data[k * size + i];
        found[i] = k;
      }
    }
  }
  return { found, scores: reference ? diceOf(found, reference, classes) : [] };
}

function diceOf(found, reference, classes) {
  const [both, own, other] = [0, 1, 2].map(() => new Uint32Array(classes.length + 1));
  for (let i = 0; i < found.length; i++) {
    own[found[i]]++;
    other[reference[i]]++;
    if (found[i] === reference[i]) both[found[i]]++;
  }
  return classes.flatMap(({ name }, index) => (other[index + 1] ? [{ name, dice: (2 * both[index + 1]) / (own[index + 1] + other[index + 1]) }] : []));
}

// How far two tensors are apart, as a share of the first one's length.
export function moved(before, after) {
  let [difference, length] = [0, 0];
  for (let i = 0; i < before.length; i++) {
    difference += (after[i] - before[i]) ** 2;
    length += before[i] ** 2;
  }
  return Math.sqrt(difference / (length || 1));
}
