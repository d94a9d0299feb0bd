// Text into the pieces of a model's dictionary and back, as fairseq_lite_runtime/text.py does.
import "fs"; // gives Buffer to sentencepiece-js
import { SentencePieceProcessor } from "@sctg/sentencepiece-js";

const MARK = /\u2581/g; // sentencepiece's for the start of a word

class Words {
  split(line) {
    return line.split(/\s+/).filter(Boolean);
  }
  join(pieces) {
    return pieces.join(" ");
  }
}

class SentencePiece {
  constructor(processor) {
    this.processor = processor;
  }
  static async load(bytes) {
    const processor = new SentencePieceProcessor();
    await processor.loadFromB64StringModel(base64(bytes));
    return new SentencePiece(processor);
  }
  split(line) {
    return this.processor.encodePieces(line).join(" ").split(/\s+/).filter(Boolean);
  }
  join(pieces) {
    return pieces.join(" ").replaceAll(" ", "").replace(MARK, " ").trim();
  }
}

function base64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

// One side's text: a way to split it, and the dictionary.
export class Text {
  constructor(splitter, pieces, config) {
    this.splitter = splitter;
    this.pieces = pieces;
    this.unk = config.unk;
    this.specials = new Set([config.bos, config.pad, config.eos]);
    this.numbers = new Map();
    pieces.forEach((piece, i) => this.specials.has(i) || this.numbers.set(piece, i));
  }
  ids(line) {
    return this.splitter.split(line).map((piece) => this.numbers.get(piece) ?? this.unk);
  }
  line(ids) {
    return this.splitter.join(ids.filter((i) => !this.specials.has(i)).map((i) => this.pieces[i]));
  }
}

// The Text of a side, "source" or "target"; read(name) gives the bytes of a file of the folder.
export async function openText(config, vocabulary, side, read) {
  if (config.subwords === null) return new Text(new Words(), vocabulary[side], config);
  if (config.subwords !== "sentencepiece") throw new Error(`subwords ${config.subwords}: not read by this page`);
  const name = `${side}.spm` in config.files ? `${side}.spm` : "subwords.spm";
  return new Text(await SentencePiece.load(await read(name)), vocabulary[side], config);
}
