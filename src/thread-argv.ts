/** What loads code, or says how it is found, into each thread of a process. Each takes a value. */
const LOADS = /^(?:--import|--require|-r|--loader|--experimental-loader|--conditions|-C)$/;

/**
 * The flags that worker threads begin with, as options of `Worker`. They have those of the process, unless it was given its
 * program as text: Node then refuses to begin a thread with a file, since `--input-type` is only for text. Of such a process a
 * thread gets what loads code; nothing else may be named to a thread without being refused, or matters to it.
 */
export function threadArgv(given: readonly string[] = process.execArgv): { readonly execArgv?: string[] } {
  if (!given.some((flag) => /^--input-type(?:=|$)/.test(flag))) return {};
  const execArgv: string[] = [];
  for (let i = 0; i < given.length; i++) {
    const [name = ""] = (given[i] as string).split("=", 1);
    if (/^(?:-e|--eval|-p|--print|-pe|--input-type)$/.test(given[i] as string)) i++;
    else if (LOADS.test(name)) {
      execArgv.push(given[i] as string);
      if (name === given[i]) execArgv.push(given[++i] as string);
    }
  }
  return { execArgv };
}
