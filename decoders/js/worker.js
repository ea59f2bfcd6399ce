#!/usr/bin/env node
// Level B of the conformance suite: a call of the command in each line of standard input, as JSON, and its answer in a
// line of standard output.

import { createInterface } from "node:readline";

import { run } from "./command.js";

const CRASHED = 1;

for await (const request of createInterface({ input: process.stdin })) {
  const { id, args } = JSON.parse(request);
  const answer = await run(args).catch(({ stack }) => ({ status: CRASHED, line: "", detail: stack }));
  const reply = { id, status: answer.status, stdout: `${answer.line}\n`, stderr: answer.detail ?? "" };
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}
