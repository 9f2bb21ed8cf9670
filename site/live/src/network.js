// The exported network in the browser: unpack its files, run its parts, name what comes out.
import * as ort from "onnxruntime-web/wasm";
import { bytesOf } from "./arrays.js";

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
  const stream = new Blob([bytesOf(packed[name])]).stream();
  delete packed[name];
  return new Uint8Array(await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
}

export async function openNetwork(tell) {
  tell("loading the description and the slices");
  const about = JSON.parse(new TextDecoder().decode(await unpack("about")));
  const pixels = await unpack("slices");
  const numbers = new Float32Array((await unpack("weights")).buffer);
  tell("loading the WebAssembly runtime");
  ort.env.wasm.numThreads = 1; // several need headers that a file server does not send
  ort.env.wasm.wasmBinary = (await unpack("runtime")).buffer;
  tell("loading the network");
  const parts = {};
  for (const name of ["encoder", "level_0", "level_1", "level_2"]) parts[name] = await ort.InferenceSession.create(await unpack(name), { executionProviders: ["wasm"] });
  return new Network(about, pixels, numbers, parts);
}

const tensor = (data, shape) => new ort.Tensor("float32", data, shape);

export class Network {
  constructor(about, pixels, numbers, parts) {
    Object.assign(this, { about, pixels, parts });
    const cut = ([start, length]) => numbers.subarray(start, start + length);
    const map = (object, change) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
    this.weights = about.weights.map((layers) => map(layers, (layer) => map(layer, cut)));
  }

  // A shipped slice: its index, gray values in [0, 1], and labels.
  slice(index) {
    const size = this.about.side ** 2;
    const start = 2 * size * index;
    return { index, gray: Float32Array.from(this.pixels.subarray(start, start + size), (value) => value / 255), label: this.pixels.subarray(start + size, start + 2 * size) };
  }

  // Controls of the three levels, one after the other, that change nothing.
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

  // What no gate changes, in a row: X of levels 0 to 2, then the tokens for level 2.
  async encode(gray) {
    const { side } = this.about;
    return (await this.parts.encoder.run({ image: tensor(gray, [1, 1, side, side]) })).row.data;
  }

  // All tensors by "level/name", and the logits, when a level and those after it run; of those before it, `before` has them.
  // Ends early, with nothing, once goOn says no.
  async decode(features, controls, first = 2, before = {}, goOn = () => true) {
    const { levels, layouts, controls: names } = this.about;
    const sizes = levels.map(({ channels, height, width }) => channels * height * width);
    const starts = [0, sizes[0], sizes[0] + sizes[1], sizes[0] + sizes[1] + sizes[2]];
    const tensors = { ...before };
    for (let level = first; level >= 0; level--) {
      if (!(await goOn())) return null;
      const { channels, height, width } = levels[level];
      const tokens = level === 2 ? features.subarray(starts[3]) : tensors[`${level + 1}/next`].data;
      const given = {
        x: tensor(features.subarray(starts[level], starts[level + 1]), [1, channels, height, width]),
        tokens: tensor(tokens, [1, height * width, channels]),
        controls: tensor(controls.subarray(level * names.length, (level + 1) * names.length), [1, names.length]),
      };
      const { data } = (await this.parts[`level_${level}`].run(given)).row;
      for (const [name, [start, ...shape]] of Object.entries(layouts[level])) tensors[name] = { data: data.subarray(start, start + shape[0] * shape[1] * shape[2]), shape };
    }
    return tensors;
  }
}
