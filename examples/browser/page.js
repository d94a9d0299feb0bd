// Translates the text field's lines whenever it changes; what was typed meanwhile comes next.
import { Translator } from "./translator.js";

const folder = new URLSearchParams(location.search).get("folder") ?? "model/";
const element = (id) => document.getElementById(id);
let waiting = false;
let running = false;

async function translateAll(translator) {
  waiting = true;
  if (running) return;
  running = true;
  while (waiting) {
    waiting = false;
    await translateOnce(translator);
  }
  running = false;
}

async function translateOnce(translator) {
  const found = [];
  try {
    for (const line of element("source").value.split("\n")) found.push(await translator.translate(line));
  } catch (error) {
    element("status").textContent = error.message;
    return;
  }
  element("target").textContent = found.map(({ text }) => text).join("\n");
  const tokens = found.reduce((sum, each) => sum + each.tokens.length, 0);
  const seconds = found.reduce((sum, each) => sum + each.milliseconds, 0) / 1000;
  element("speed").textContent = seconds ? Math.round(tokens / seconds).toLocaleString("en") : "";
  element("status").textContent = "ready";
}

try {
  const translator = await Translator.load(folder);
  globalThis.translator = translator;
  element("bytes").textContent = translator.bytes.toLocaleString("en");
  const { mult_adds: multAdds, options } = translator.config;
  element("mult-adds").textContent = multAdds ? `${(multAdds / 1e6).toFixed(1)} M` : "not counted";
  element("beam").textContent = options.beam;
  element("source").addEventListener("input", () => translateAll(translator));
  await translateAll(translator);
} catch (error) {
  element("status").textContent = error.message;
}
