// The exported network in the browser: unpack its files, run encoder and decoder, name what comes out.
import * as ort from "onnxruntime-web/wasm";

const packed = {};
globalThis.liveData = (name, text) => {
  packed[name] = text;
};

// A script and not a fetch, so that the page also works from a disk.
function load(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${address} is missing: build the page again with make site`));
    document.head.append(script);
  });
}

async function unpack(name) {
  await load(`data/${name}.js`);
  const answer = await fetch(`data:application/octet-stream;base64,${packed[name]}`);
  delete packed[name];
  return new Uint8Array(await new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

const floats = (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);

export async function openNetwork(tell) {
  tell("loading the description and the slices");
  const about = JSON.parse(new TextDecoder().decode(await unpack("about")));
  const pixels = await unpack("slices");
  const numbers = floats(await unpack("weights"));
  tell("loading the WebAssembly runtime");
  ort.env.wasm.numThreads = 1; // several need headers that a file server does not send
  ort.env.wasm.wasmBinary = (await unpack("runtime")).buffer;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  tell("loading the network");
  const encoder = await ort.InferenceSession.create(await unpack("encoder"), options);
  const decoder = await ort.InferenceSession.create(await unpack("decoder"), options);
  return new Network(about, pixels, numbers, encoder, decoder);
}

export class Network {
  constructor(about, pixels, numbers, encoder, decoder) {
    Object.assign(this, { about, pixels, encoder, decoder });
    this.weights = about.weights.map((layers) =>
      Object.fromEntries(
        Object.entries(layers).map(([layer, parts]) => [
          layer,
          Object.fromEntries(Object.entries(parts).map(([part, [start, length]]) => [part, numbers.subarray(start, start + length)])),
        ]),
      ),
    );
  }

  // A shipped slice: gray values in [0, 1], and labels.
  slice(index) {
    const size = this.about.side ** 2;
    const start = 2 * size * index;
    return { gray: Float32Array.from(this.pixels.subarray(start, start + size), (value) => value / 255), label: this.pixels.subarray(start + size, start + 2 * size) };
  }

  asTrained() {
    const controls = new Float32Array(3 * this.about.controls.length);
    for (let level = 0; level < 3; level++) this.set(controls, level, "scale of G", 1);
    return controls;
  }

  set(controls, level, name, value) {
    controls[level * this.about.controls.length + this.about.controls.indexOf(name)] = value;
  }

  get(controls, level, name) {
    return controls[level * this.about.controls.length + this.about.controls.indexOf(name)];
  }

  async encode(gray) {
    const image = new ort.Tensor("float32", gray, [1, 1, this.about.side, this.about.side]);
    return (await this.encoder.run({ image })).features;
  }

  // All tensors by "level/name", and the logits.
  async decode(features, controls) {
    const given = new ort.Tensor("float32", controls, [1, 3, this.about.controls.length]);
    const { data } = (await this.decoder.run({ features, controls: given })).tensors;
    const entries = Object.entries(this.about.layout).map(([name, [start, ...shape]]) => [name, { data: data.subarray(start, start + shape[0] * shape[1] * shape[2]), shape }]);
    return Object.fromEntries(entries);
  }
}

export function labels(logits) {
  const [classes, height, width] = logits.shape;
  const size = height * width;
  const best = logits.data.slice(0, size);
  const found = new Uint8Array(size);
  for (let k = 1; k < classes; k++) {
    for (let i = 0; i < size; i++) {
      if (logits.data[k * size + i] > best[i]) {
        best[i] = logits.data[k * size + i];
        found[i] = k;
      }
    }
  }
  return found;
}

// Dice of each organ in the reference, 0 to 1; no entry for one that is not there.
export function diceOf(found, reference, classes) {
  return classes.flatMap(({ name }, index) => {
    let [both, sum, there] = [0, 0, 0];
    for (let i = 0; i < reference.length; i++) {
      const [a, b] = [found[i] === index + 1, reference[i] === index + 1];
      both += a && b;
      sum += a + b;
      there += b;
    }
    return there ? [{ name, dice: (2 * both) / sum }] : [];
  });
}

export function moved(before, after) {
  let [difference, length] = [0, 0];
  for (let i = 0; i < before.length; i++) {
    difference += (after[i] - before[i]) ** 2;
    length += before[i] ** 2;
  }
  return Math.sqrt(difference / (length || 1));
}
