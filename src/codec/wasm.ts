import { assemble } from "./wat.ts";

/** What is used of the global `WebAssembly`; the type library that has it is the browser's. */
interface WebAssemblyGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object) => { readonly exports: unknown };
}

const PAGE = 65_536;

/**
 * Functions of the text form that wat.ts knows, ready to be called, with their memory.
 * @param bytes size of the memory.
 * @returns undefined where WebAssembly, or its vectors, can't be had
 */
export function instantiate<Functions>(
  text: string,
  bytes: number,
): (Functions & { readonly memory: { readonly buffer: ArrayBuffer } }) | undefined {
  const { WebAssembly } = globalThis as { WebAssembly?: WebAssemblyGlobal };
  if (!WebAssembly) return undefined; // node --jitless
  try {
    const module = new WebAssembly.Module(assemble(text, Math.ceil(bytes / PAGE)));
    return new WebAssembly.Instance(module).exports as Functions & { memory: { buffer: ArrayBuffer } };
  } catch {
    // A processor without such vectors, or too little address space for a memory (`ulimit -v`).
    return undefined;
  }
}
