// The trellis of tool 2 (clause 9.4).

const NEXT = Uint8Array.of(0, 2, 7, 5, 1, 3, 6, 4, 2, 0, 5, 7, 3, 1, 4, 6); // T[state][p] at 2 state + p

/** The states of the trellis, one a lane; they are 0 at first. */
export class Quantiser {
  constructor(n_lanes) {
    this.states = new Uint8Array(n_lanes);
  }

  of(lane) {
    return this.states[lane] & 1;
  }

  /** Goes on by the bit p; gives the quantiser that was used. */
  advance(lane, p) {
    const state = this.states[lane];
    this.states[lane] = NEXT[2 * state + p];
    return state & 1;
  }
}

/**
 * { values, isTooLarge }: r in place of the values k, and whether one breaks TRE-3. `quantiserOf(i)` is asked in order,
 * before k[i] becomes r.
 */
export function contributions(k, quantiserOf) {
  let isTooLarge = false;
  for (let i = 0; i < k.length; i++) {
    const value = 2 * k[i] - quantiserOf(i) * Math.sign(k[i]);
    isTooLarge ||= Math.abs(value) >= 2 ** 31;
    k[i] = value;
  }
  return { values: k, isTooLarge };
}
