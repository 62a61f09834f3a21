/** The numbers of the page's data, out of the texts that they stand in: all are little-endian. */

/** Return the bytes of a text in base64. */
export function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Return 16-bit whole numbers. */
export function int16Of(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Int16Array.from({ length: bytes.byteLength / 2 }, (_, place) => view.getInt16(2 * place, true));
}

/** Return 32-bit floating-point numbers. */
export function float32Of(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, place) => view.getFloat32(4 * place, true));
}

/** Return the bytes that gzip made small. */
export async function unzipped(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return the weights of each step of the path of penalties as whole numbers from −127 to 127. */
export async function pathOf(path) {
  const weights = await Promise.all(path.map(({ weight }) => unzipped(bytesOf(weight))));
  return path.map((step, place) => ({ ...step, weight: new Int8Array(weights[place].buffer) }));
}

/**
 * Return the samples of the page: those to learn from, and those held out, which come last. Each
 * part has `features` (row after row, `width` numbers a row), `labels` and `count`.
 */
export async function samplesOf({ values, labels, count, held, width, step, bytes }) {
  const raw = await unzipped(bytesOf(values));
  const whole = bytes === 1 ? raw : int16Of(raw);
  const features = Float64Array.from(whole, (value) => value * step);
  const part = (from, to) => ({
    features: features.subarray(from * width, to * width),
    labels: Int32Array.from(labels.slice(from, to)),
    count: to - from,
    width,
  });
  return { train: part(0, count - held), held: part(count - held, count) };
}
