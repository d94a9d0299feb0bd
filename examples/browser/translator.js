// A translation model in a folder that fairseq-lite export wrote, run by onnxruntime-web.
import * as ort from "onnxruntime-web";
import { openText } from "./subwords.js";

const FORMAT = 1;
ort.env.wasm.numThreads = 1; // more need a page that is isolated from other origins
ort.env.logLevel = "error";

export class Translator {
  // url: of the folder, with a slash at its end. Throws an Error of one line for a folder that cannot be run.
  static async load(url) {
    const config = JSON.parse(new TextDecoder().decode(await fetchBytes(url + "config.json")));
    if (config.format !== FORMAT) throw new Error(`${url}: has format ${config.format}, this page reads ${FORMAT}`);
    if (config.kind !== "translation") throw new Error(`${url}: holds a model of the kind ${config.kind}, not translation`);
    const translator = new Translator();
    translator.config = config;
    translator.bytes = 0;
    const contents = new Map();
    const read = async (name) => {
      if (contents.has(name)) return contents.get(name);
      const content = await fetchBytes(url + name);
      if ((await sha256(content)) !== config.files[name]) throw new Error(`${url}${name}: damaged; export again`);
      translator.bytes += content.length;
      contents.set(name, content);
      return content;
    };
    const vocabulary = JSON.parse(new TextDecoder().decode(await read("vocab.json")));
    translator.source = await openText(config, vocabulary, "source", read);
    translator.target = await openText(config, vocabulary, "target", read);
    const weights = "weights.bin" in config.files ? [{ path: "weights.bin", data: await read("weights.bin") }] : [];
    translator.session = await ort.InferenceSession.create(await read("model.onnx"), {
      executionProviders: ["wasm"],
      externalData: weights,
    });
    return translator;
  }

  // The best translation of a line: its text, ids with the end, score and milliseconds. The options of the search are
  // those of the export: onnxruntime-web takes no inputs that have defaults in the graph.
  async translate(line) {
    const ids = this.source.ids(line);
    if (!ids.length) return { text: "", tokens: [], score: 0, milliseconds: 0 };
    const most = this.config.max_source ?? Infinity;
    if (ids.length + 1 > most) throw new Error(`${ids.length + 1} tokens; this model takes ${most}`);
    const start = performance.now();
    const inputs = { source: int64([...ids, this.config.eos], [1, ids.length + 1]) };
    const { tokens, scores, lengths } = await this.session.run(inputs);
    const best = Array.from(tokens.data.slice(0, Number(lengths.data[0])), Number);
    return { text: this.target.line(best), tokens: best, score: scores.data[0], milliseconds: performance.now() - start };
  }
}

function int64(numbers, shape) {
  return new ort.Tensor("int64", BigInt64Array.from(numbers, BigInt), shape);
}

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}; export a model there`);
  return new Uint8Array(await response.arrayBuffer());
}

async function sha256(content) {
  const digest = await crypto.subtle.digest("SHA-256", content);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
