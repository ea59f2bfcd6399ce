// A decoder of the SINR bitstream, Core profile: from the bytes of a file to its weights (clauses 5, 12 and 15). No API
// of Node or of a browser is used here or in what this imports. The field's values: field.js.

import { adoptBase } from "./base.js";
import { chunks, mayHaveHash, newProgress } from "./container.js";
import { SinrError, check } from "./errors.js";
import { hex } from "./digests.js";
import { readHead } from "./head.js";
import { decodePass, dropIncomplete, newState } from "./pass.js";
import { CHUNK, FEATURE } from "./registry.js";
import { weightsDigest } from "./weights.js";

const HASH_ENTRY = 33;
const MOST_SYMBOLS = 2 ** 30; // LIM-3: unless the caller has another limit

/**
 * Decodes a file (Uint8Array) to { head, parts, passes, acc_crc, weights_sha256 }; throws SinrError. `parts` are the
 * HEADs with the network of each part, which is `head` alone in a file without the feature PARTS.
 *
 * Options: `passes` and `partial` as in DEC-5; `inflate(bytes, most)`, which gives the content of a zlib stream
 * (zlib_web.js, zlib_node.js); `loadBase()`, which gives the bytes of the base, or null; `onHead(head)`, called when
 * HEAD is read, before a base is; `most_symbols`, 2^30 if not given, above which a file is LIMIT_CALLER (LIM-3).
 * Functions may be async.
 */
export async function decode(bytes, options = {}) {
  const { passes = Infinity, partial = false, inflate, most_symbols = MOST_SYMBOLS } = options;
  const { loadBase = () => null, onHead = () => {} } = options;
  const progress = newProgress();
  const hasHash = mayHaveHash(bytes); // the weights after each pass are digested only where they are compared
  const file = { state: null, acc_crc: [], digests: [], hashes: [] };
  const crcs = []; // of the chunks of a pass that is not whole yet
  try {
    for (const chunk of chunks(bytes, progress)) {
      if (chunk.kind === CHUNK.HEAD) {
        const head = readHead(bytes, chunk.start, chunk.end);
        file.state = newState(head, most_symbols);
        await onHead(head);
        check(passes === Infinity || passes <= head.n_passes, "USAGE", null, "passes above n_passes");
        if (file.state.hasBase) adoptBase(head, await decodeBase(head, await loadBase(), inflate, most_symbols));
        Object.assign(progress, { file_bytes: head.level.file_bytes, n_passes: head.n_passes });
      }
      if (chunk.kind === CHUNK.PASS) {
        crcs.push(await decodePass(file.state, bytes, chunk, inflate));
        if (file.state.n_done > progress.n_done) {
          progress.n_done++;
          file.acc_crc.push(...crcs.splice(0));
          if (hasHash) file.digests.push(digestOf(file.state));
        }
      }
      if (chunk.kind === CHUNK.HASH) file.hashes = file.hashes.concat(readHashes(bytes, chunk));
      if (progress.n_done === passes) break;
    }
  } catch (error) {
    const isCut = error instanceof SinrError && error.name === "TRUNCATED" && partial && progress.n_done > 0;
    if (!isCut) throw error;
    dropIncomplete(file.state);
  }
  checkHashes(file);
  const { head, parts } = file.state;
  return {
    head,
    parts,
    passes: progress.n_done,
    acc_crc: file.acc_crc.map((crc) => crc.toString(16).padStart(8, "0")),
    weights_sha256: file.digests.at(-1) ?? digestOf(file.state),
  };
}

const digestOf = ({ networks, n_done }) => hex(weightsDigest(networks, n_done));

/** The base, decoded; null if it does not decode, for whatever reason. */
async function decodeBase(head, bytes, inflate, most_symbols) {
  check(bytes, "BASE_REQUIRED", head.at.base_digest);
  const isAlone = (base) => check(!base.has(FEATURE.SHARED_BASE), "BASE_MISMATCH", base.at.base_digest);
  try {
    return await decode(bytes, { inflate, most_symbols, onHead: isAlone });
  } catch (error) {
    if (error instanceof SinrError) return null;
    throw error;
  }
}

/** The entries of a HASH chunk; none where its content breaks a rule (clause 12). */
function readHashes(bytes, { start, end }) {
  const entries = [];
  for (let at = start; at < end; at += HASH_ENTRY) {
    entries.push({ at, pass: bytes[at], digest: hex(bytes.subarray(at + 1, at + HASH_ENTRY)) });
  }
  const isAscending = entries.every(({ pass }, i) => i === 0 || entries[i - 1].pass < pass);
  return isAscending && (end - start) % HASH_ENTRY === 0 ? entries : [];
}

/** ANC-1. */
function checkHashes({ hashes, digests }) {
  for (const { at, pass, digest } of hashes) {
    check(pass >= digests.length || digests[pass] === digest, "WEIGHTS_HASH_MISMATCH", at);
  }
}
