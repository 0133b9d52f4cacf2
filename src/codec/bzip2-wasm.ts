import { AT, FAST, type Kernel, MAX_CODE, SLOW, TABLE_BITS } from "./bzip2-kernel.ts";
import { instantiate } from "./wasm.ts";

/*
 * The loops of bzip2-kernel.ts with a buffer of 64 bits and vectors of 16 bytes. Moving a byte to the front of its
 * list is what data that does not compress spends its time with: here the list moves on by one place as 16 vectors,
 * without a branch on how far. Reading info/ of 200 packages of 130 kB took 0.33 s of processor time with this and
 * 0.94 s with JavaScript, the begin of a text half as long (docs/decisions/003-own-bzip2.md).
 */

/** A vector of the list moved on by one place, with the last byte of the one before it in front. */
const MOVED = "(i8x16.shuffle 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 $before $here)";
/** Moves on the part of the list's vector number `v` that lies at or before $index. */
const move = (v: number) => `
  (set $here (v128.load offset=${AT.list + v * 16} 0))
  (v128.store offset=${AT.list + v * 16} 0
    (v128.bitselect ${MOVED} $here (v128.load offset=${v * 16} (i32.sub ${AT.mask + 255} $index))))
  (set $before $here)`;

const add = (place: string, what: string) => `(i32.store ${place} (i32.add (i32.load ${place}) ${what}))`;

const SOURCE = `
(func $symbols
  (param $position i32) (param $limit i32) (param $selectorCount i32) (param $end i32) (param $blockSize i32)
  (result i32)
  (local $at i32) (local $have i32) (local $held i64)     ;; the next bits, from the highest on
  (local $n i32) (local $top i32)                         ;; where the column has come to, where it must end
  (local $run i32) (local $shift i32)
  (local $selector i32) (local $selectorsEnd i32) (local $fast i32) (local $slow i32) (local $left i32)
  (local $entry i32) (local $symbol i32) (local $length i32) (local $code i32) (local $p i32)
  (local $index i32) (local $byte i32) (local $before v128) (local $here v128)
  (local $result i32)

  (set $p ${AT.counts})
  (loop $zero
    (i32.store $p 0)
    (br_if $zero (i32.lt_u (tee $p (i32.add $p 4)) ${AT.counts + 1024})))
  (set $at (i32.add ${AT.window} (i32.shr_u $position 3)))
  (set $have (i32.sub 8 (i32.and $position 7)))
  (set $held (i64.shl (i64.extend_i32_u (i32.load8_u $at)) (i64.extend_i32_u (i32.sub 64 $have))))
  (set $at (i32.add $at 1))
  (set $n ${AT.column})
  (set $top (i32.add $n $blockSize))
  (set $selector ${AT.selectors})
  (set $selectorsEnd (i32.add $selector $selectorCount))
  (block $leave
    (loop $group
      (set $result -3)
      (br_if $leave (i32.ge_u $selector $selectorsEnd))
      (br_if $leave (i32.gt_s (i32.sub (i32.shl (i32.sub $at ${AT.window}) 3) $have) $limit))
      (set $fast (i32.add ${AT.fast} (i32.mul (i32.load8_u $selector) ${FAST.bytes})))
      (set $slow (i32.add ${AT.slow} (i32.mul (i32.load8_u $selector) ${SLOW.bytes})))
      (set $selector (i32.add $selector 1))
      (set $left 50)
      (loop $next
        ;; 33 bits or more, so that any code is among them
        (if (i32.le_u $have 32)
          (set $code (i32.load $at))
          (set $code (i32.or
            (i32.and (i32.rotl $code 8) 0x00ff00ff)
            (i32.and (i32.rotr $code 8) 0xff00ff00)))
          (set $held (i64.or $held (i64.shl (i64.extend_i32_u $code) (i64.extend_i32_u (i32.sub 32 $have)))))
          (set $at (i32.add $at 4))
          (set $have (i32.add $have 32)))
        (set $entry (i32.load16_u
          (i32.add $fast (i32.shl (i32.wrap_i64 (i64.shr_u $held (i64.const ${64 - TABLE_BITS}))) 1))))
        (set $symbol (i32.shr_u $entry 5))
        (set $length (i32.and $entry 31))
        (if (i32.eqz $entry)
          (set $length ${TABLE_BITS})
          (block $found
            (loop $longer
              (set $result -2)
              (set $length (i32.add $length 1))
              (br_if $leave (i32.gt_u $length ${MAX_CODE}))
              (set $code (i32.wrap_i64 (i64.shr_u $held (i64.extend_i32_u (i32.sub 64 $length)))))
              (set $p (i32.add $slow (i32.shl $length 2)))
              (br_if $found (i32.le_s $code (i32.load $p)))
              (br $longer)))
          (set $code (i32.add $code (i32.load offset=${SLOW.offset} $p)))
          (set $symbol (i32.load16_u offset=${SLOW.symbols} (i32.add $slow (i32.shl $code 1)))))
        (set $held (i64.shl $held (i64.extend_i32_u $length)))
        (set $have (i32.sub $have $length))

        (set $result -1)
        (block $done
          (if (i32.le_u $symbol 1)
            (set $run (i32.add $run (i32.shl (i32.add 1 $symbol) $shift)))
            (br_if $leave (i32.gt_u (tee $shift (i32.add $shift 1)) 21))
            (br $done))
          (if $run
            (br_if $leave (i32.gt_u (i32.add $n $run) $top))
            (set $byte (i32.load8_u offset=${AT.list} 0))
            (set $p (i32.add ${AT.counts} (i32.shl $byte 2)))
            ${add("$p", "$run")}
            ;; whole vectors: what is too much is written over
            (set $before (i8x16.splat $byte))
            (set $p $n)
            (set $n (i32.add $n $run))
            (loop $fill
              (v128.store $p $before)
              (br_if $fill (i32.lt_u (tee $p (i32.add $p 16)) $n)))
            (set $run 0)
            (set $shift 0))
          (if (i32.eq $symbol $end)
            (set $result (i32.sub $n ${AT.column}))
            (br $leave))
          (br_if $leave (i32.ge_u $n $top))
          (set $index (i32.sub $symbol 1))
          (set $byte (i32.load8_u offset=${AT.list} $index))
          (set $before (i8x16.splat $byte))
          (block $moved
            ${move(0)}
            (br_if $moved (i32.lt_u $index 16))
            ${Array.from({ length: 15 }, (_, v) => move(v + 1)).join("")})
          (set $p (i32.add ${AT.counts} (i32.shl $byte 2)))
          ${add("$p", "1")}
          (i32.store8 $n $byte)
          (set $n (i32.add $n 1)))
        (br_if $next (tee $left (i32.sub $left 1))))
      (br $group)))
  (i32.store ${AT.position} (i32.sub (i32.shl (i32.sub $at ${AT.window}) 3) $have))
  $result)

(func $sort (param $count i32)
  (local $p i32) (local $sum i32) (local $row i32) (local $i i32) (local $byte i32)
  (set $p ${AT.counts})
  (loop $sums
    (set $row (i32.load $p))
    (i32.store $p $sum)
    (set $sum (i32.add $sum $row))
    (br_if $sums (i32.lt_u (tee $p (i32.add $p 4)) ${AT.counts + 1024})))
  (block $sorted
    (loop $each
      (br_if $sorted (i32.ge_u $i $count))
      (set $byte (i32.load8_u offset=${AT.column} $i))
      (set $p (i32.shl $byte 2))
      (set $row (i32.load offset=${AT.counts} $p))
      (i32.store offset=${AT.counts} $p (i32.add $row 1))
      (i32.store offset=${AT.rows} (i32.shl $row 2) (i32.or $byte (i32.shl $i 8)))
      (set $i (i32.add $i 1))
      (br $each))))
`;

/** The loops in WebAssembly; undefined where it, or its vectors, can't be had. */
export function wasmKernel(): Kernel | undefined {
  const made = instantiate<Pick<Kernel, "symbols" | "sort">>(SOURCE, AT.bytes);
  if (!made) return undefined;
  new Uint8Array(made.memory.buffer, AT.mask, 256).fill(255);
  return { memory: made.memory.buffer, symbols: made.symbols, sort: made.sort };
}
