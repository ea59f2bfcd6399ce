// The command of clause 15: its arguments, what it reads and writes, and its line of JSON. Files are those of Node.

import { readFileSync, writeFileSync } from "node:fs";
import { deflateSync } from "node:zlib";

import { decode } from "./decoder.js";
import { EXIT_STATUS, SinrError, check } from "./errors.js";
import { evaluateGrid, evaluatePoints, samplesOf } from "./field.js";
import { readNpyMatrix, writeNpy } from "./npy.js";
import { writePng } from "./png.js";
import { VALUES } from "./registry.js";
import { inflate } from "./zlib_node.js";

const HAS_VALUE = { "--coords": true, "--size": true, "--passes": true, "--partial": false, "--base": true };

const usage = (condition, detail) => check(condition, "USAGE", null, detail);

/** Runs the command: { status, line }, its exit status and its line of JSON. Never throws. */
export async function run(args) {
  try {
    const { weights_sha256, acc_crc, passes } = await decodeToFile(args);
    return { status: 0, line: JSON.stringify({ weights_sha256, acc_crc, passes }) };
  } catch (error) {
    const answer = asSinrError(error);
    return { status: EXIT_STATUS[answer.class], line: JSON.stringify(answer), detail: error.message };
  }
}

/** What the engine says when there is no memory is a limit of the caller (LIM-3); other errors are defects. */
function asSinrError(error) {
  if (error instanceof SinrError) return error;
  if (error instanceof RangeError) return new SinrError("LIMIT_CALLER");
  throw error;
}

async function decodeToFile(args) {
  const given = parse(args);
  const points = given.coords === undefined ? null : readNpyMatrix(read(given.coords));
  const file = await decode(read(given.source), {
    passes: given.passes,
    partial: given.partial,
    inflate,
    loadBase: () => (given.base === undefined ? null : read(given.base)),
    onHead: (head) => checkCall(head, given, points),
  });
  const field = points ? evaluatePoints(file, points.values) : evaluateGrid(file, given.size);
  write(given.out, given.isPng ? pngOf(file, field) : writeNpy(field));
  return file;
}

function pngOf(file, { shape, values }) {
  return writePng(samplesOf(file, values), shape, file.head.out_channels, deflateSync);
}

/** The arguments; USAGE for what they alone say (DEC-4, DEC-5). */
function parse(args) {
  const names = [];
  const options = {};
  for (let i = 0; i < args.length; i++) {
    const [, name, value] = /^(--[a-z]+)(?:=(.*))?$/s.exec(args[i]) ?? [];
    if (!name) {
      names.push(args[i]);
      continue;
    }
    usage(name in HAS_VALUE, `unknown option ${name}`);
    usage(HAS_VALUE[name] || value === undefined, `${name} has no value`);
    options[name.slice(2)] = HAS_VALUE[name] ? (value ?? args[++i]) : true;
    usage(options[name.slice(2)] !== undefined, `${name} without its value`);
  }
  usage(names.length === 2 && !names.some((name) => name.startsWith("--")), "IN and OUT are needed");
  const [source, out] = names;
  const isPng = out.endsWith(".png");
  usage(isPng || out.endsWith(".npy"), "OUT is neither .npy nor .png");
  usage(options.coords === undefined || (!isPng && options.size === undefined), "--coords goes with neither");
  return {
    source, out, isPng, coords: options.coords, base: options.base, partial: options.partial ?? false,
    size: options.size === undefined ? undefined : parseSize(options.size),
    passes: options.passes === undefined ? undefined : positive(options.passes),
  };
}

function positive(text) {
  usage(/^\d+$/.test(text) && Number(text) >= 1, `${text} is not a positive number`);
  return Number(text);
}

/** The sizes in axis order; the last axis is written first. */
const parseSize = (text) => text.split("x").map(positive).reverse();

/** USAGE for what HEAD decides. */
function checkCall(head, { size, isPng }, points) {
  const isPicture = head.in_dims === 2 && head.out_channels <= 4 && head.values !== VALUES.RAW;
  usage(!isPng || isPicture, "the field is no picture");
  usage(!points || points.shape[1] === head.in_dims, "--coords has another number of columns");
  usage(!size || size.length === head.in_dims, "--size has another number of axes");
  usage(points || size || head.has_grid, "there is no native grid: --size or --coords is needed");
}

function read(path) {
  try {
    const buffer = readFileSync(path);
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
  } catch (error) {
    throw new SinrError("USAGE", null, error.message);
  }
}

function write(path, bytes) {
  try {
    writeFileSync(path, bytes);
  } catch (error) {
    throw new SinrError("USAGE", null, error.message);
  }
}
