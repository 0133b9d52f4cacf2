/*
 * A small assembler for WebAssembly's text form, so that a hot loop can lie in the repository as text and needs no
 * compiler to build it. It knows the instructions below, functions (all of them exported) and one memory, and these
 * shorthands: `$x` stands for (local.get $x), a number for (i32.const n), `set` and `tee` for local.set and local.tee.
 * Operands are written inside their instruction, blocks give no values.
 */

const OPCODES: Readonly<Record<string, readonly number[]>> = {
  br: [0x0c],
  br_if: [0x0d],
  set: [0x21],
  tee: [0x22],
  "i32.load": [0x28],
  "i32.load8_u": [0x2d],
  "i32.load16_u": [0x2f],
  "i32.store": [0x36],
  "i32.store8": [0x3a],
  "i64.const": [0x42],
  "i32.eqz": [0x45],
  "i32.eq": [0x46],
  "i32.lt_u": [0x49],
  "i32.gt_s": [0x4a],
  "i32.gt_u": [0x4b],
  "i32.le_s": [0x4c],
  "i32.le_u": [0x4d],
  "i32.ge_u": [0x4f],
  "i32.add": [0x6a],
  "i32.sub": [0x6b],
  "i32.mul": [0x6c],
  "i32.and": [0x71],
  "i32.or": [0x72],
  "i32.shl": [0x74],
  "i32.shr_u": [0x76],
  "i32.rotl": [0x77],
  "i32.rotr": [0x78],
  "i64.or": [0x84],
  "i64.shl": [0x86],
  "i64.shr_u": [0x88],
  "i32.wrap_i64": [0xa7],
  "i64.extend_i32_u": [0xad],
  "v128.load": [0xfd, 0x00],
  "v128.store": [0xfd, 0x0b],
  "i8x16.shuffle": [0xfd, 0x0d],
  "i8x16.splat": [0xfd, 0x0f],
  "v128.not": [0xfd, 0x4d],
  "v128.or": [0xfd, 0x50],
  "v128.xor": [0xfd, 0x51],
  "v128.bitselect": [0xfd, 0x52],
  "i32x4.shl": [0xfd, 0xab, 0x01],
  "i32x4.shr_u": [0xfd, 0xad, 0x01],
  "i32x4.add": [0xfd, 0xae, 0x01],
};
const LOCAL_GET = 0x20;
const I32_CONST = 0x41;
const BLOCKS: Readonly<Record<string, number>> = { block: 0x02, loop: 0x03 };
const IF = 0x04;
const NO_VALUE = 0x40;
const END = 0x0b;
const TYPES: Readonly<Record<string, number>> = { i32: 0x7f, i64: 0x7e, v128: 0x7b };

type Node = string | readonly Node[];

/**
 * Assembles functions into a module that exports them and its memory as `memory`.
 * @param pages size of the memory in units of 64 KiB.
 * @throws Error naming the word that it does not know: the text is ours, so this is a defect.
 */
export function assemble(text: string, pages: number): Uint8Array<ArrayBuffer> {
  const types: number[][] = [];
  const codes: number[][] = [];
  const exports = [named("memory", 2, 0)];
  for (const definition of parse(text)) {
    const f = assembleFunction(definition as readonly Node[]);
    exports.push(named(f.name, 0, codes.length));
    types.push(f.type);
    codes.push(f.code);
  }
  const section = (id: number, items: readonly number[][]) => [id, ...sized(list(items))];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0], // "\0asm", version 1
    ...section(1, types),
    ...section(
      3,
      codes.map((_, i) => unsigned(i)),
    ),
    ...section(5, [[0, ...unsigned(pages)]]),
    ...section(7, exports),
    ...section(10, codes),
  ]);
}

function parse(text: string): readonly Node[] {
  const open: Node[][] = [[]];
  for (const [token] of text.replace(/;;.*$/gm, "").matchAll(/[()]|[^\s()]+/g)) {
    if (token === "(") open.push([]);
    else if (token === ")") {
      const done = open.pop() as Node[];
      open.at(-1)?.push(done);
    } else open.at(-1)?.push(token);
  }
  if (open.length !== 1) throw new Error("brackets don't match");
  return open[0] as Node[];
}

function assembleFunction([, name, ...parts]: readonly Node[]): { name: string; type: number[]; code: number[] } {
  const locals = new Map<string, number>();
  const params: number[][] = [];
  const results: number[][] = [];
  const variables: number[][] = [];
  const code: number[] = [];
  const labels: string[] = [];
  const known = <T>(table: (word: string) => T | undefined, word: string): T => {
    const found = table(word);
    if (found === undefined) throw new Error(`${name}: ${word} is not known`);
    return found;
  };
  const local = (word: string) => unsigned(known((w) => locals.get(w), word));
  const type = (word: string) => known((w) => TYPES[w], word);

  const emit = (node: Node): void => {
    if (typeof node === "string") {
      if (node.startsWith("$")) code.push(LOCAL_GET, ...local(node));
      else code.push(I32_CONST, ...signed(Number(node) | 0));
      return;
    }
    const [op, ...args] = node as readonly [string, ...Node[]];
    const block = BLOCKS[op];
    if (block !== undefined) {
      code.push(block, NO_VALUE);
      labels.push(args[0] as string);
      args.slice(1).forEach(emit);
    } else if (op === "if") {
      emit(args[0] as Node);
      code.push(IF, NO_VALUE);
      labels.push("");
      args.slice(1).forEach(emit);
    } else {
      const immediates = takeImmediates(op, args);
      args.slice(immediates.length).forEach(emit);
      code.push(...known((w) => OPCODES[w], op));
      const first = immediates[0] ?? "";
      if (op === "set" || op === "tee") code.push(...local(first));
      else if (op === "i64.const") code.push(...signed(Number(first)));
      else if (op.startsWith("br")) code.push(...unsigned(depth(first)));
      else if (op === "i8x16.shuffle") code.push(...immediates.map(Number));
      // Alignment is only a hint; 0 is always true.
      else if (/load|store/.test(op)) code.push(0, ...unsigned(Number(first.replace("offset=", ""))));
      return;
    }
    labels.pop();
    code.push(END);
  };
  const depth = (label: string) =>
    labels.length - 1 - known((w) => (labels.includes(w) ? labels.lastIndexOf(w) : undefined), label);

  for (const part of parts) {
    const [kind, a = "", b = ""] = typeof part === "string" ? [part] : (part as readonly string[]);
    if (kind === "param" || kind === "local") {
      locals.set(a, locals.size);
      (kind === "param" ? params : variables).push(kind === "param" ? [type(b)] : [1, type(b)]);
    } else if (kind === "result") results.push([type(a)]);
    else emit(part);
  }
  return {
    name: String(name).slice(1),
    type: [0x60, ...list(params), ...list(results)],
    code: sized([...list(variables), ...code, END]),
  };
}

/** The words behind an instruction that belong to it and are no operands. */
function takeImmediates(op: string, args: readonly Node[]): readonly string[] {
  const offset = String(args[0]).startsWith("offset=");
  const count = op === "i8x16.shuffle" ? 16 : /^(?:set|tee|br|br_if|i64.const)$/.test(op) || offset ? 1 : 0;
  return args.slice(0, count) as readonly string[];
}

const sized = (bytes: readonly number[]): number[] => [...unsigned(bytes.length), ...bytes];
const list = (items: readonly (readonly number[])[]): number[] => [...unsigned(items.length), ...items.flat()];
const named = (name: string, kind: number, index: number): number[] => [
  ...sized([...Buffer.from(name)]),
  kind,
  ...unsigned(index),
];

/** LEB128. */
function unsigned(n: number): number[] {
  const bytes: number[] = [];
  for (; n > 127; n >>>= 7) bytes.push((n & 127) | 128);
  return [...bytes, n];
}

/** LEB128 of a signed number of up to 32 bits. */
function signed(n: number): number[] {
  const bytes: number[] = [];
  for (; n < -64 || n > 63; n >>= 7) bytes.push((n & 127) | 128);
  return [...bytes, n & 127];
}
