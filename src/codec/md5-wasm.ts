import { instantiate } from "./wasm.ts";

/*
 * MD5 (RFC 1321) of eight streams at once. One stream can't be hashed faster than its chain of 64 steps a block goes, each
 * of which waits for the one before; eight go through vectors of four lanes each, two vectors side by side, in the time
 * that two take one after another.
 */

/** How many streams go through at once. */
export const LANES = 8;

/** Where things lie in the kernel's memory: offsets in bytes. */
export const AT = {
  /** a, b, c, d of lanes 0 to 3, then of lanes 4 to 7: vectors of four words. */
  state: 0,
  /** The 16 words of a block, each a vector: of lanes 0 to 3, then of lanes 4 to 7. */
  words: 128,
  /** The 64 constants, each four times. */
  constants: 640,
  /** The end of it all: what is to be hashed lies behind. */
  end: 1664,
} as const;

export interface Md5Kernel {
  readonly memory: ArrayBuffer;
  /** Takes `blocks` blocks of 64 bytes, one at least, from where each lane's pointer says, into the state. */
  readonly blocks: (
    p0: number,
    p1: number,
    p2: number,
    p3: number,
    p4: number,
    p5: number,
    p6: number,
    p7: number,
    blocks: number,
  ) => void;
}

const GROUPS = [0, 1] as const;
const SHIFTS = [
  [7, 12, 17, 22],
  [5, 9, 14, 20],
  [4, 11, 16, 23],
  [6, 10, 15, 21],
] as const;
const load = (at: number) => `(v128.load offset=${at} 0)`;

/** The rounds' functions of three words. */
const MIX = [
  (b: string, c: string, d: string) => `(v128.bitselect ${c} ${d} ${b})`,
  (b: string, c: string, d: string) => `(v128.bitselect ${b} ${c} ${d})`,
  (b: string, c: string, d: string) => `(v128.xor (v128.xor ${c} ${d}) ${b})`,
  (b: string, c: string, d: string) => `(v128.xor ${c} (v128.or ${b} (v128.not ${d})))`,
] as const;

function step(n: number, group: number): string {
  // The four change places from step to step.
  const [a, b, c, d] = [0, 1, 2, 3].map((i) => `$${"abcd"[(i - n) & 3]}${group}`) as [string, string, string, string];
  const shift = SHIFTS[n >> 4]?.[n & 3] as number;
  const mix = MIX[n >> 4] as (typeof MIX)[0];
  const word = ([n, 5 * n + 1, 3 * n + 5, 7 * n][n >> 4] as number) & 15;
  return `
    (set $t${group} (i32x4.add
      (i32x4.add ${a} (i32x4.add ${load(AT.words + group * 256 + word * 16)} ${load(AT.constants + n * 16)}))
      ${mix(b, c, d)}))
    (set ${a} (i32x4.add ${b}
      (v128.or (i32x4.shl $t${group} ${shift}) (i32x4.shr_u $t${group} ${32 - shift}))))`;
}

/** Words 0 and 1, 2 and 3 of two lanes: each pair side by side. */
const LOW = "0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23";
const HIGH = "8 9 10 11 24 25 26 27 12 13 14 15 28 29 30 31";
const FIRST = "0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23";
const SECOND = "8 9 10 11 12 13 14 15 24 25 26 27 28 29 30 31";

/** Four words of four lanes, turned so that each vector holds one word of all of them. */
function turn(quarter: number, group: number): string {
  const lane = (i: number) => `(v128.load offset=${quarter * 16} $p${group * 4 + i})`;
  const out = (i: number, how: string, x: string, y: string) =>
    `(v128.store offset=${AT.words + group * 256 + (quarter * 4 + i) * 16} 0 (i8x16.shuffle ${how} ${x} ${y}))`;
  return `
    (set $r0 ${lane(0)}) (set $r1 ${lane(1)}) (set $r2 ${lane(2)}) (set $r3 ${lane(3)})
    (set $r4 (i8x16.shuffle ${LOW} $r0 $r1)) (set $r5 (i8x16.shuffle ${LOW} $r2 $r3))
    (set $r0 (i8x16.shuffle ${HIGH} $r0 $r1)) (set $r2 (i8x16.shuffle ${HIGH} $r2 $r3))
    ${out(0, FIRST, "$r4", "$r5")} ${out(1, SECOND, "$r4", "$r5")}
    ${out(2, FIRST, "$r0", "$r2")} ${out(3, SECOND, "$r0", "$r2")}`;
}

const each = (what: (group: number, name: string, at: number) => string) =>
  GROUPS.flatMap((g) => ["a", "b", "c", "d"].map((n, i) => what(g, `$${n}${g}`, AT.state + g * 64 + i * 16))).join(
    "\n",
  );

const SOURCE = `
(func $blocks
  ${Array.from({ length: LANES }, (_, i) => `(param $p${i} i32)`).join(" ")} (param $left i32)
  ${each((_, name) => `(local ${name} v128)`)}
  ${[0, 1, 2, 3, 4, 5].map((i) => `(local $r${i} v128)`).join(" ")}
  (local $t0 v128) (local $t1 v128)
  ${each((_, name, at) => `(set ${name} ${load(at)})`)}
  (loop $next
    ${GROUPS.flatMap((g) => [0, 1, 2, 3].map((q) => turn(q, g))).join("")}
    ${Array.from({ length: 64 }, (_, n) => GROUPS.map((g) => step(n, g)).join("")).join("")}
    ${each((_, name, at) => `(set ${name} (i32x4.add ${name} ${load(at)})) (v128.store offset=${at} 0 ${name})`)}
    ${Array.from({ length: LANES }, (_, i) => `(set $p${i} (i32.add $p${i} 64))`).join(" ")}
    (br_if $next (tee $left (i32.sub $left 1)))))
`;

/**
 * @param bytes size of its memory.
 * @returns undefined where WebAssembly, or its vectors, can't be had
 */
export function md5Kernel(bytes: number): Md5Kernel | undefined {
  const made = instantiate<Pick<Md5Kernel, "blocks">>(SOURCE, bytes);
  if (!made) return undefined;
  const view = new DataView(made.memory.buffer);
  for (let i = 0; i < 256; i++) {
    view.setUint32(AT.constants + i * 4, Math.floor(Math.abs(Math.sin((i >> 2) + 1)) * 2 ** 32), true);
  }
  return { memory: made.memory.buffer, blocks: made.blocks };
}
