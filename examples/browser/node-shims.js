// What sentencepiece-js asks of node and does not use in a page: its file system, and base64.
export const readFileSync = undefined;
export const Buffer = {
  from: (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)),
};
globalThis.Buffer ??= Buffer;
