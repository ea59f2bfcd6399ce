// From integers and steps to weights (clause 9.1), of tensors and of layers (clause 13.2).

import { Sha256, bytesOf } from "./digests.js";
import { TOOL } from "./registry.js";

const MANTISSAS = [8388608, 9147842, 9975792, 10878679, 11863283, 12937002, 14107901, 15384775];
const stepOf = (s) => MANTISSAS[s & 7] * 2 ** ((s >> 3) - 123);

function halfToNumber(pattern) {
  const exponent = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  const magnitude = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
  return pattern & 0x8000 ? -magnitude : magnitude;
}

/** The weights of a tensor as Float32Array, in C order; zeros if no pass has coded it. */
export function weightsOf({ tool, acc, size, columns, step, row_steps, is_half }) {
  if (!acc) return new Float32Array(size);
  if (tool === TOOL.RAW && !is_half) return new Float32Array(acc.buffer, acc.byteOffset, size);
  const weights = new Float32Array(size);
  if (tool === TOOL.RAW) {
    for (let i = 0; i < size; i++) weights[i] = halfToNumber(acc[i]);
    return weights;
  }
  const one = stepOf(step);
  for (let i = 0; i < size; i++) {
    const factor = row_steps ? stepOf(step + row_steps[Math.floor(i / columns)]) : one;
    weights[i] = Math.fround(acc[i]) * factor; // exact in binary64, rounded once when it is stored
  }
  return weights;
}

/**
 * The weights of a layer of `tensors`: { W, b }, W of the shape rows, columns and b of rows, both Float32Arrays. Of a
 * network that grows these are the rows and columns that are there, put together of the blocks that have begun.
 */
export function layerWeights(tensors, { layer, rows, columns }) {
  const begun = tensors.filter((one) => one.layer === layer && one.acc);
  const put = (role, n_columns) => {
    const blocks = begun.filter((one) => one.role === role);
    if (blocks.length === 1 && blocks[0].size === rows * n_columns) return weightsOf(blocks[0]);
    const whole = new Float32Array(rows * n_columns);
    for (const block of blocks) {
      const weights = weightsOf(block);
      for (let row = 0; row < block.rows; row++) {
        const line = weights.subarray(row * block.columns, (row + 1) * block.columns);
        whole.set(line, (block.first_row + row) * n_columns + block.first_column);
      }
    }
    return whole;
  };
  return { W: put("weight", columns), b: put("bias", 1) };
}

/** weights_sha256 of networks after n_passes passes, as 32 bytes. */
export function weightsDigest(networks, n_passes) {
  const sha = new Sha256();
  for (const { own } of networks) {
    for (const tensor of own) if (tensor.begins < n_passes) sha.update(bytesOf(weightsOf(tensor)));
  }
  return sha.digest();
}

/** The step codes of a tensor as clause 9.8 lists them. */
export const stepCodes = ({ tool, step, row_steps }) =>
  tool === TOOL.RAW ? [] : row_steps ? Array.from(row_steps, (d) => step + d) : [step];
