// Weights relative to another file (clause 9.8).

import { check } from "./errors.js";
import { Sha256, bytesOf } from "./digests.js";
import { FEATURE, KIND, TOOL } from "./registry.js";
import { stepCodes } from "./weights.js";

/** Gives the tensors of `head` the integers and steps of `base`, a decoded file; BASE_MISMATCH if it is not the one. */
export function adoptBase(head, base) {
  check(base && isBase(head, base), "BASE_MISMATCH", head.at.base_digest);
  head.network.tensors.forEach((tensor, i) => {
    const { acc, step, row_steps } = base.head.network.tensors[i];
    Object.assign(tensor, { acc, step, row_steps });
  });
}

function isBase(head, base) {
  const other = base.head;
  return (
    ![FEATURE.SHARED_BASE, FEATURE.PARTS, FEATURE.WIDTHS].some(other.has) &&
    ![head, other].some(hasLatents) &&
    stateDigest(other.network).every((byte, i) => byte === head.base_digest[i]) &&
    head.in_dims === other.in_dims &&
    head.out_channels === other.out_channels &&
    describe(head) === describe(other)
  );
}

/** The first 16 bytes of the SHA-256 of step codes and acc. */
function stateDigest({ tensors }) {
  const sha = new Sha256();
  for (const tensor of tensors) {
    sha.update(bytesOf(Uint16Array.from(stepCodes(tensor))));
    sha.update(bytesOf(tensor.acc));
  }
  return sha.digest().subarray(0, 16);
}

/** What the networks of a file and of its base have in common, as a text to compare. */
function describe(head) {
  return JSON.stringify([
    head.records.some(isSeeded) ? [head.rng_dictionary >> 4, head.key] : [],
    head.steps.map(describeStep),
  ]);
}

const hasLatents = ({ records: [{ kind }] }) => kind === KIND.GRID || kind === KIND.PYRAMID;
const isSeeded = ({ kind }) => kind === KIND.FOURIER_SEEDED;

function describeStep({ op, record, kind, inputs, outputs }) {
  if (op === "encode" || op === "input") return [op, { ...record, at: null }];
  const { omega, scale, tool_flags, tool } = record;
  return [op, kind, inputs, outputs, omega, scale, tool_flags & 0x60, tool === TOOL.RAW];
}
